#!/bin/bash
# Builds a node from the rig's real arm64 image as an ordinary user, twice, lets outsiders judge it and boots it.
#
# usage: CEIL_RIG=DIR tests/rig-accept.sh [PROGRAM]
#
# As root, the two builds run as two different users without any privilege; otherwise both run as the caller.
# SKIP_BOOT=1 leaves the emulator out.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
program=$(realpath "${1:-$here/target/release/ceil-img}")
base=$(realpath "${CEIL_RIG:?set it to the folder with base/ceil-base-arm64.img.xz}/base/ceil-base-arm64.img.xz")
hostname=rig-one

work=$(mktemp -d "${TMPDIR:-/tmp}/rig-accept.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
chmod 755 "$work"
install -m 755 "$program" "$work/ceil-img"
PATH=$PATH:/usr/sbin:/sbin

# build FOLDER UID ZONE MASK: a folder of its own for each user, for the cluster, the cache and the output
build() {
  local dir=$work/$1 command
  mkdir -p "$dir/profiles"
  cat >"$dir/cluster.yaml" <<END
cluster: {name: rig}
profiles: [profiles]
nodes:
  - {name: one, hostname: $hostname, profile: rig}
END
  cat >"$dir/profiles/rig.yaml" <<END
base: "$base"
edits:
  - {put: "root:/etc/motd", content: "made by ceil-img\\n", mode: "0644", owner: "0:0"}
  - {dir: "root:/opt/rig", mode: "0750", owner: "0:0"}
  - {symlink: "root:/opt/rig/motd", to: /etc/motd}
  - {kernel-args: {add: [cgroup_enable=memory]}}
  - {grow: {root: "+256MiB"}}
END
  command=("$work/ceil-img" build one --file "$dir/cluster.yaml" --base "$base" --out "$dir/out")
  if [ "$(id -u)" = 0 ]; then
    chown -R "$2:$2" "$dir"
    command=(setpriv --reuid="$2" --regid="$2" --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs "${command[@]}")
  fi
  (
    umask "$4"
    cd "$dir"
    env -i PATH=/nonexistent HOME="$dir" CEIL_CACHE="$dir/cache" TZ="$3" "$(command -v "${command[0]}")" "${command[@]:1}"
  )
}

build first 65534 UTC 022
build second 65533 Asia/Kathmandu 077

first=$(sha256sum <"$work/first/out/one.img")
[ "$first" = "$(sha256sum <"$work/second/out/one.img")" ] || {
  echo "rig-accept: two builds differ" >&2
  exit 1
}
(cd "$work/first/out" && sha256sum -c one.img.sha256)

image=$work/first/out/one.img
sfdisk -V "$image"

# check_volumes IMAGE: both file systems, by their own checkers
check_volumes() {
  local start sectors type
  while read -r start sectors type; do
    if [ "$type" = c ]; then
      rm -f "$work/fat.img"
      dd if="$1" of="$work/fat.img" bs=1M iflag=skip_bytes,count_bytes,fullblock \
        skip=$((start * 512)) count=$((sectors * 512)) conv=sparse status=none
      fsck.vfat -n "$work/fat.img"
    else
      e2fsck -fn "$1?offset=$((start * 512))"
    fi
  done < <(sfdisk -d "$1" | sed -n 's/.*start= *\([0-9]*\), size= *\([0-9]*\), type=\([0-9a-f]*\).*/\1 \2 \3/p')
}
check_volumes "$image"

if [ "${SKIP_BOOT:-0}" != 1 ]; then
  # The kernel grows the mounted file system to the whole card, on top of the growth made here, and after the
  # shutdown the card is as good as before.
  # shellcheck disable=SC2016
  BOOT_CARD=4G BOOT_KEEP=$work/card.img "$here/tests/boot-qemu.sh" "$image" "$hostname" 'cat /etc/motd' \
    'echo root has $(df -m --output=size / | tail -n 1) MiB' | tee "$work/booted"
  grep -q 'made by ceil-img' "$work/booted"
  size=$(sed -n 's/^root has *\([0-9]*\) MiB.*/\1/p' "$work/booted")
  [ "${size:-0}" -ge 3500 ] || {
    echo "rig-accept: the root file system has ${size:-no} MiB on a card of 4 GiB" >&2
    exit 1
  }
  sfdisk -V "$work/card.img"
  check_volumes "$work/card.img"
fi
echo "rig-accept: ok"
