#!/bin/bash
# Fills the corpora with small images made by the real tools.
#
# usage: fuzz/seed.sh
set -euo pipefail
cd "$(dirname "$0")"
PATH=$PATH:/usr/sbin:/sbin
mkdir -p corpus/table corpus/volume corpus/edit corpus/texts corpus/checksums

i=0
for options in "-b 1024 -O ^metadata_csum,^64bit,^has_journal" "-b 1024 -O ^metadata_csum,^64bit,uninit_bg,^has_journal" \
  "-b 1024 -O ^64bit,^has_journal,metadata_csum" "-b 4096 -O ^has_journal,64bit,metadata_csum" "-b 1024 -O ^extent,^has_journal,^64bit,^metadata_csum"; do
  i=$((i + 1))
  image=corpus/volume/ext4-$i
  rm -f "$image"
  blocks=512
  case $options in *4096*) blocks=128 ;; esac
  # shellcheck disable=SC2086
  mke2fs -q -t ext4 $options -N 32 -U 00000000-0000-4000-8000-00000000000$i "$image" $blocks
  debugfs -w -R "write seed.sh a" "$image" 2>/dev/null
  cp "$image" corpus/edit/
done
for kind in 12 16 32; do
  image=corpus/volume/fat-$kind
  rm -f "$image"
  truncate -s $((kind == 16 ? 2200 : 512))K "$image"
  mkfs.vfat -F $kind -s 1 -i 12345678 "$image" >/dev/null
  # As few clusters as these are FAT12 to mtools.
  [[ $kind == 32 ]] || mcopy -i "$image" seed.sh "::A long name.txt"
  cp "$image" corpus/edit/
done

for label in dos gpt; do
  image=corpus/table/$label
  rm -f "$image"
  truncate -s 96K "$image"
  printf 'label: %s\nstart=64, size=32\nstart=96, size=32\n' $label | sfdisk -q "$image"
done
cp ../fixtures/clusters/example/cluster.yaml ../fixtures/clusters/example/profiles/*.yaml ../profiles/*.yaml corpus/texts/
printf '%064d  file\n' 0 >corpus/checksums/list
printf 'SHA256 (file) = %064d\n' 0 >corpus/checksums/bsd
