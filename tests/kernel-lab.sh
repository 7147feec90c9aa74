#!/bin/bash
# Lets the kernel of the rig's image judge file systems edited and grown here: it mounts them, compares every file,
# grows the ext4 ones online to the whole of their partition, writes and deletes. Then e2fsck and fsck.vfat look.
# Where the kernel refuses to grow one of ours, it must refuse the same file system without our growth (`control`).
#
# usage: CEIL_RIG=DIR tests/kernel-lab.sh
#
# Prints a Markdown table. Exit code: 0 all as it should be, 1 not, 2 a tool is missing.
#
#   LAB_KEEP      folder for disks, answers and console, kept       (a temporary one)
#   CEIL_E2FSCK   more e2fsck to ask, such as that of a newer release (paths with colons between)
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
PATH=$PATH:/usr/sbin:/sbin
base=$(realpath "${CEIL_RIG:?set it to the folder with base/ceil-base-arm64.img.xz}/base/ceil-base-arm64.img.xz")
for tool in qemu-system-aarch64 sfdisk mke2fs mkfs.vfat mcopy python3 xz; do
  command -v "$tool" >/dev/null || {
    echo "kernel-lab: $tool is missing" >&2
    exit 2
  }
done

work=${LAB_KEEP:-$(mktemp -d "${TMPDIR:-/tmp}/kernel-lab.XXXXXX")}
mkdir -p "$work/disks"
work=$(realpath "$work")
if [ -z "${LAB_KEEP-}" ]; then trap 'rm -rf "$work"' EXIT; fi
trap 'exit 130' INT
trap 'exit 143' TERM

cd "$here"
export CEIL_LAB=$work/disks
cargo test --locked --quiet --lib ext4::tests::lab -- --ignored >&2
cargo test --locked --quiet --test it fat::lab -- --ignored >&2
cp tests/kernel-lab/guest.py "$work/disks/"
python3 tests/kernel-lab/disk.py pack "$work/disks"
echo "kernel-lab: disks are ready after $SECONDS s" >&2

[ -f "$work/base.img" ] || xz -dc "$base" | dd of="$work/base.img" bs=1M iflag=fullblock conv=sparse status=none
BOOT_BARE=1 BOOT_TIMEOUT=${LAB_TIMEOUT:-1200} BOOT_PATIENCE=${LAB_TIMEOUT:-1200} BOOT_LOG=$work/console \
  BOOT_DISKS=$work/disks/lab.img tests/boot-qemu.sh "$work/base.img" "" \
  'mount -t tmpfs tools /mnt && mkdir /mnt/lists && tar -C /mnt/lists -xf /dev/vdb1 && python3 /mnt/lists/guest.py /dev/vdb /mnt/lists 2>&1' \
  >"$work/disks/answers"
echo "kernel-lab: the guest is done after $SECONDS s" >&2
python3 tests/kernel-lab/disk.py judge "$work/disks"
