#!/bin/bash
# Fills the corpora with structures that the real tools made.
#
# usage: fuzz/seed.sh
set -euo pipefail
cd "$(dirname "$0")"
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for target in superblock group inode extent directory xattr journal fat mbr gpt bmap texts checksums; do
  mkdir -p "corpus/$target"
done

# An input: which base, 2 for "the body is the structure", which structure, all of the work; then the structure.
seed() { # TARGET BASE PIECE NAME [FILE OFFSET LENGTH]
  local out=corpus/$1/$4
  # shellcheck disable=SC2059
  printf "\\x$(printf %02x "$2")\\x$(printf %02x $((2 * ($# > 4))))\\x$(printf %02x "$3")\\xff\\xff" >"$out"
  [[ $# == 4 ]] || part "$5" "$6" "$7" >>"$out"
}
part() { # FILE OFFSET LENGTH
  dd if="$1" iflag=skip_bytes,count_bytes skip="$2" count="$3" status=none
}
number() { # WORDS...: the last number that debugfs says
  debugfs -R "$1" "$2" 2>/dev/null | tr -c '0-9\n' ' ' | awk '{ n = $NF } END { print n + 0 }'
}

# Every base without any change, with every half of the work.
for target in superblock group inode extent directory xattr; do
  for base in 0 1 2 3 4 5 6; do
    seed $target $base 0 "base-$base"
    printf "\\x$(printf %02x $base)\\x00\\x00\\x2f\\x00" >"corpus/$target/base-$base-some"
  done
done
for base in 0 1 2; do
  seed journal $base 0 "base-$base"
  seed fat $base 0 "base-$base"
done

# Superblocks and descriptors of larger file systems in the layouts of the supported images.
n=0
for options in "-O ^64bit,^huge_file" "-O ^64bit,metadata_csum_seed,orphan_file" "-O ^huge_file,^metadata_csum,^64bit" \
  "-O uninit_bg,^metadata_csum,^64bit" "" "-b 1024" "-b 2048 -O ^flex_bg" "-I 128" "-O ^resize_inode,^sparse_super" \
  "-O ^dir_index,^has_journal" "-O meta_bg,^resize_inode" "-O bigalloc" "-O inline_data" "-O quota,project"; do
  n=$((n + 1))
  image=$work/large-$n
  truncate -s 300M "$image"
  # shellcheck disable=SC2086
  mke2fs -q -F -t ext4 $options "$image" 2>/dev/null
  table=$((($(dumpe2fs -h "$image" 2>/dev/null | awk '/^First block:/ { print $3 }') + 1) *
    $(dumpe2fs -h "$image" 2>/dev/null | awk '/^Block size:/ { print $3 }')))
  for base in 0 1 4; do
    seed superblock $base 0 "large-$n-$base" "$image" 1024 1024
    seed group $base 2 "large-$n-$base" "$image" $table 64
  done
done

# The structures of the bases, given to each other.
n=0
for name in csum1k csum4k crc16 plain groups deep journal journal-plain journal-v3; do
  image=$work/$name
  xz -dc "bases/ext4-$name.xz" >"$image"
  block=$(dumpe2fs -h "$image" 2>/dev/null | awk '/^Block size:/ { print $3 }')
  size=$(dumpe2fs -h "$image" 2>/dev/null | awk '/^Inode size:/ { print $3 }')
  for path in / /dir /hashed /file /holes /fast /slow /attrs /deep '<7>' '<8>' '<12>'; do
    debugfs -R "stat $path" "$image" 2>/dev/null | grep -q ^Inode: || continue
    plain=$(tr -dc '[:alnum:]' <<<"$path")
    at=$(debugfs -R "imap $path" "$image" 2>/dev/null |
      sed -n 's/.*located at block \([0-9]*\), offset \(0x[0-9a-f]*\).*/\1 \2/p')
    at=$((${at% *} * block + ${at#* }))
    seed inode $n 12 "$name-$plain" "$image" $at "$size"
    seed extent $n 3 "$name-$plain" "$image" $((at + 40)) 60
    [[ $size == 128 ]] || seed xattr $n 3 "$name-$plain-inode" "$image" $((at + 160)) 96
    first=$(number "bmap $path 0" "$image")
    case $path in
      /deep | /holes) ;;
      / | /dir | /hashed)
        for logical in 0 1 2; do
          leaf=$(number "bmap $path $logical" "$image")
          [[ $leaf == 0 ]] || seed directory $n $logical "$name-$plain-$logical" "$image" $((leaf * block)) "$block"
        done
        ;;
      '<8>')
        for logical in 0 1 2 3 4 5 6 7; do
          seed journal $((n % 3)) $logical "$name-$logical" "$image" $(((first + logical) * block)) "$block"
        done
        ;;
    esac
    acl=$(debugfs -R "stat $path" "$image" 2>/dev/null | sed -n 's/^File ACL: \([0-9]*\).*/\1/p')
    [[ ${acl:-0} == 0 ]] || seed xattr $n 0 "$name-$plain" "$image" $((acl * block)) "$block"
    tree=$(debugfs -R "stat $path" "$image" 2>/dev/null | sed -n 's/.*(ETB[01]): *\([0-9]*\).*/\1/p' | head -1)
    [[ ${tree:-0} == 0 ]] || seed extent $n 20 "$name-$plain-block" "$image" $((tree * block)) "$block"
  done
  n=$(((n + 1) % 7))
done

for kind in 12 16 32; do
  image=$work/fat
  for sectors in 1 4 8; do
    rm -f "$image"
    truncate -s $((kind == 32 ? 300 : kind * 1))M "$image"
    mkfs.vfat -F $kind -s $((sectors * (kind == 12 ? 8 : 1))) -n OTHER "$image" >/dev/null 2>&1 || continue
    seed fat $(((kind - 12) / 4 % 3)) 0 "boot-$kind-$sectors" "$image" 0 96
    seed fat $(((kind - 12) / 4 % 3)) 1 "table-$kind-$sectors" "$image" $((32 * 512)) 512
  done
done
for name in 12 16 32; do
  xz -dc "bases/fat-$name.xz" >"$image"
  for at in 0 512 1024 3072 16384 66048; do
    seed fat 0 2 "$name-$at" "$image" $at 512
    seed fat 1 3 "$name-$at-data" "$image" $at 512
  done
done

# Tables of sfdisk, logical partitions among them.
for script in "start=64, size=32\nstart=128, size=64" "start=8, size=8\nstart=40, size=300, type=5\nstart=48, size=8\nstart=80, size=8" \
  "start=63, size=100, type=c\nstart=200, size=100, type=83" "size=30\nsize=30\nsize=30\nsize=30"; do
  n=$((n + 1))
  image=$work/table-$n
  truncate -s 192K "$image"
  # shellcheck disable=SC2059
  printf "label: dos\n$script\n" | sfdisk -q "$image"
  head -c 512 "$image" >corpus/mbr/$n
  { part "$image" 0 512; part "$image" $((40 * 512)) 4096; } >corpus/mbr/$n-more
  # shellcheck disable=SC2059
  printf "label: gpt\n$script\n" | sed 's/, type=[0-9a-f]*//' >"$work/script"
  rm "$image" && truncate -s 192K "$image"
  sfdisk -q "$image" <"$work/script" 2>/dev/null || continue
  seed gpt 0 0 "$n-record" "$image" 0 512
  seed gpt 0 1 "$n-header" "$image" 512 92
  seed gpt 0 2 "$n-entries" "$image" 1024 1024
done

printf '\x10\x00\x00\x00\x00\x00\x05\x00\x01\x00' >corpus/bmap/two
printf '\x00\x00\xff\xff\xff\xff' >corpus/bmap/large
cp ../profiles/*.yaml corpus/texts/
for file in ../fixtures/clusters/example/cluster.yaml ../fixtures/clusters/example/profiles/*.yaml; do
  # Both folders have a profile `node`.
  cp "$file" "corpus/texts/example-${file##*/}"
done
printf '%064d  file\n' 0 >corpus/checksums/list
printf 'SHA256 (file) = %064d\n' 0 >corpus/checksums/bsd
