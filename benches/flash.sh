#!/bin/bash
# From a packed base to a card: ceil-img beside what a user would do instead; prints a table. Needs root: the cards are
# loop devices.
#
# usage: CEIL_RIG=DIR benches/flash.sh
#
#   dd        `xz -dc -T0 | dd bs=4M conv=fsync`: nothing is read back
#   raw dd    `dd bs=4M conv=fsync` of the unpacked image: nothing is read back
#   bmaptool  `bmaptool copy` of the unpacked image with its block map: nothing is read back (left out where it is missing)
#   flash     `ceil-img flash --image` of the packed base with an empty cache: read back and compared
#   cached    the same with the base in the cache
#   four      four cards at once from the packed base, with an empty cache: the source is the limit
#   four-c    four cards at once with the base in the cache: one disk behind all four is the limit here
#
# Every time ends when the data is on the disk. Runs alternate. Ratios are of the fastest runs.
#
#   CEIL_RIG    folder with base/*.img.xz
#   CEIL_IMG    the program                  (target/release/ceil-img)
#   BENCH_DIR   working folder, about 15 GB  (a fresh one in TMPDIR)
#   RUNS        runs of each side            (3)
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "$0")/.." && pwd)
program=$(realpath "${CEIL_IMG:-$here/target/release/ceil-img}")
for base in "${CEIL_RIG:?set it to a folder with base/*.img.xz}"/base/*.img.xz; do :; done
runs=${RUNS:-3}
work=$(mktemp -d "${BENCH_DIR:-${TMPDIR:-/tmp}}/flash.XXXXXX")
loops=()
cleanup() {
  for loop in "${loops[@]}"; do losetup -d "$loop" 2>/dev/null || true; done
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export HOME=$work XDG_CACHE_HOME=$work/cache

xz -dc -T0 "$base" >"$work/base.img"
size=$(stat -c %s "$work/base.img")
for i in 1 2 3 4; do
  fallocate -l $((size + (64 << 20))) "$work/card$i"
  loops+=("$(losetup --find --show "$work/card$i")")
done
"$program" --quiet backup "$work/base.img" "$work/mapped.img" >/dev/null
sync

# Seconds of a command, and the bytes that it wrote to the first card.
declare -A best
timed() { # SIDE COMMAND...
  local side=$1 begin end
  shift
  sync
  echo 3 >/proc/sys/vm/drop_caches
  begin=$(date +%s.%N)
  "$@" >"$work/out" 2>&1 || {
    cat "$work/out" >&2
    exit 1
  }
  end=$(date +%s.%N)
  best[$side]=$(python3 -c "import sys; b, e, o = map(float, sys.argv[1:]); print(min(o, e - b))" "$begin" "$end" "${best[$side]:-1e9}")
}
flash() { "$program" flash "$@" --image "$base" --yes --allow-fixed --json; }
side_dd() { xz -dc -T0 "$base" | dd of="${loops[0]}" bs=4M conv=fsync; }
side_raw() { dd if="$work/base.img" of="${loops[0]}" bs=4M conv=fsync; }
side_bmap() { bmaptool copy --bmap "$work/mapped.img.bmap" "$work/mapped.img" "${loops[0]}"; }
side_flash() {
  rm -rf "$work/cache"
  flash "${loops[0]}"
}
side_cached() { flash "${loops[0]}"; }
side_four() {
  rm -rf "$work/cache"
  side_four-c
}
side_four-c() {
  local pids=()
  for loop in "${loops[@]}"; do
    flash "$loop" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid"; done
}
sides=(dd raw flash cached four four-c)
command -v bmaptool >/dev/null && sides=(dd raw bmap flash cached four four-c)
for _ in $(seq "$runs"); do
  for side in "${sides[@]}"; do timed "$side" "side_$side"; done
done
flash "${loops[0]}" >"$work/json"
python3 - "$work/json" "$size" <<'END'
import json, sys
for line in open(sys.argv[1]):
    event = json.loads(line)
    if event.get("event") == "flashed":
        used, written = event["used"], event["written"]
        print(f"image {int(sys.argv[2]) >> 20} MiB, in use {used >> 20} MiB, written {written >> 20} MiB: {written / used:.3f}")
END
printf '| side | fastest, s | ratio |\n| --- | ---: | ---: |\n'
for side in "${sides[@]}"; do
  of="dd"
  case $side in
  four) of=flash ;;
  four-c) of=cached ;;
  esac
  python3 -c "import sys; s, a, b, o = sys.argv[1:]; print(f'| {s} | {float(a):.2f} | {float(a) / float(b):.2f} of {o} |')" \
    "$side" "${best[$side]}" "${best[$of]}" "$of"
done
