#!/bin/bash
# Makes the base images of the targets with the real tools. They are kept in the repository, so that an input means
# the same everywhere; run this to change them.
#
# usage: fuzz/bases.sh
set -euo pipefail
cd "$(dirname "$0")"
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C E2FSPROGS_FAKE_TIME=1700000000 SOURCE_DATE_EPOCH=1700000000 MTOOLS_SKIP_CHECK=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p bases

# A tree with one of everything: hard links that fill an indexed directory, a file of many extents, attributes in the
# inode and in a block, symlinks in the inode and in a block.
tree=$work/tree
mkdir -p "$tree/dir/sub" "$tree/hashed"
head -c 3000 /dev/zero | tr '\0' f >"$tree/file"
echo deep >"$tree/dir/sub/deep"
for n in $(seq -w 90); do ln "$tree/file" "$tree/hashed/another name of file $n"; done
for n in $(seq 0 39); do printf '%04096d' "$n" | dd of="$tree/holes" bs=4096 seek=$((2 * n)) conv=notrunc status=none; done
ln -s short "$tree/fast"
ln -s "$(printf 'long/%.0s' $(seq 50))" "$tree/slow"
echo attributes >"$tree/attrs"
setfattr -n user.large -v "$(printf 'v%.0s' $(seq 600))" "$tree/attrs"
setfattr -n user.small -v small "$tree/attrs"
setfattr -n user.small -v small "$tree/file"
deep=$work/deep
cp -a "$tree" "$deep"
for n in $(seq 0 359); do printf '%01024d' "$n" | dd of="$deep/deep" bs=1024 seek=$((2 * n)) conv=notrunc status=none; done
find "$tree" "$deep" -exec touch -h -d @1700000000 {} +

ext4() { # NAME BLOCKS TREE OPTION...
  local name=$1 blocks=$2 from=$3 image=$work/$1
  shift 3
  mke2fs -q -q -F -t ext4 -m 0 -N 64 -U 00000000-0000-4000-8000-0000000000e4 \
    -E hash_seed=66666666-7777-4888-9999-aaaaaaaaaaaa,lazy_itable_init=0,root_owner=0:0 "$@" -d "$from" "$image" "$blocks"
  # Makes the index; says 1 for having changed something.
  e2fsck -fyD "$image" >/dev/null 2>&1 || [[ $? == 1 ]]
  e2fsck -fn "$image" >/dev/null 2>&1
}
ext4 ext4-csum1k 1024 "$tree" -b 1024 -O ^has_journal,^64bit,metadata_csum
ext4 ext4-csum4k 256 "$tree" -b 4096 -O ^has_journal,64bit,metadata_csum,metadata_csum_seed
ext4 ext4-crc16 1024 "$tree" -b 1024 -I 128 -O ^has_journal,^64bit,^metadata_csum,uninit_bg
ext4 ext4-plain 1024 "$tree" -b 1024 -O ^has_journal,^64bit,^metadata_csum,^extent,^resize_inode,^huge_file
ext4 ext4-groups 2048 "$tree" -b 1024 -g 512 -O ^has_journal,64bit,metadata_csum,^flex_bg
ext4 ext4-deep 1536 "$deep" -b 1024 -O ^has_journal,64bit,metadata_csum
ext4 ext4-journal 2560 "$tree" -b 1024 -J size=1 -O has_journal,^64bit,metadata_csum,metadata_csum_seed,orphan_file

# Two transactions that write two blocks of the file `attrs` and `holes`, and one that revokes the first.
for kind in journal-plain journal-v3; do
  image=$work/ext4-$kind
  cp "$work/ext4-journal" "$image"
  first=$(debugfs -R 'bmap attrs 0' "$image" 2>/dev/null)
  second=$(debugfs -R 'bmap holes 0' "$image" 2>/dev/null)
  head -c 2048 /dev/zero | tr '\0' n >"$work/new"
  checksums=
  [[ $kind == journal-v3 ]] && checksums=-c
  printf 'jo %s\njw -b %s,%s %s\njw -r %s\njw -b %s %s\njc\n' "$checksums" "$first" "$second" "$work/new" "$first" \
    "$second" "$work/new" | debugfs -w -f - "$image" >/dev/null 2>&1
  dumpe2fs -h "$image" 2>/dev/null | grep -q needs_recovery
done

for kind in 12 16 32; do
  image=$work/fat-$kind
  truncate -s $((kind == 12 ? 256 : kind == 16 ? 2200 : 33600))K "$image"
  mkfs.vfat -F $kind -s 1 -i 12345678 -n BOOT "$image" >/dev/null
  mcopy -i "$image" "$tree/file" "::A long name.txt"
  mcopy -i "$image" "$tree/attrs" ::SHORT.TXT
  mmd -i "$image" ::dir ::dir/sub
  mcopy -i "$image" "$tree/file" ::dir/sub/deep.bin
done

for label in dos gpt; do
  image=$work/table-$label
  truncate -s 192K "$image"
  printf 'label: %s\nstart=64, size=32\nstart=128, size=64\n' $label | sfdisk -q "$image"
done

for image in "$work"/ext4-* "$work"/fat-* "$work"/table-*; do
  xz -9e -c "$image" >"bases/${image##*/}.xz"
done
ls -l bases
