#!/bin/bash
# What a user would do instead of ceil-img, beside ceil-img, on a real base and the same payload; prints a table.
#
# usage: CEIL_RIG=DIR benches/side-by-side.sh
#
#   cold   `xz -dc -T0` of the base to a file, against `ceil-img build one` with an empty cache
#   warm   copy of the raw base, grown, mounted, payload copied in, unmounted, against `ceil-img build one` with the
#          base in the cache, and against `--format none` (plan, edit and digest alone). The hand-made side needs root.
#
# Every time ends when the data is on the disk (sync of the image). Runs alternate, so that a busy moment of the
# machine hits all sides. Ratios are of the fastest runs.
#
#   CEIL_RIG     folder with base/*.img.xz, or
#   BENCH_BASE   the .img.xz itself
#   CEIL_IMG     the program                        (target/release/ceil-img)
#   BENCH_DIR    working folder, about 5 GB         (a fresh one in TMPDIR, removed at the end)
#   FORMAT       what both warm sides end in        (img; anything else leaves the hand-made side out)
#   RUNS         runs of each side                  (3)
#   GROW         how much both sides grow root, MiB (512; 0 for not at all)
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "$0")/.." && pwd)
program=${CEIL_IMG:-$here/target/release/ceil-img}
format=${FORMAT:-img}
runs=${RUNS:-3}
grow=${GROW:-512}

die() {
  printf 'side-by-side: %s\n' "$*" >&2
  exit 2
}

base=${BENCH_BASE:-}
if [ -z "$base" ]; then
  [ -n "${CEIL_RIG:-}" ] || die "set CEIL_RIG to a folder with base/*.img.xz, or BENCH_BASE to an .img.xz"
  for base in "$CEIL_RIG"/base/*.img.xz; do :; done
fi
[ -f "$base" ] || die "$base is not there"
[ -x "$program" ] || die "$program is not there; run: cargo build --release"
program=$(realpath "$program")
base=$(realpath "$base")
for tool in xz python3 sfdisk; do
  command -v "$tool" >/dev/null || die "$tool is missing"
done

if [ -n "${BENCH_DIR:-}" ]; then
  mkdir -p "$BENCH_DIR"
  work=$(cd "$BENCH_DIR" && pwd)
  keep=1
else
  work=$(mktemp -d "${TMPDIR:-/tmp}/side-by-side.XXXXXX")
  keep=
fi
loop=
cleanup() {
  if mountpoint -q "$work/mnt" 2>/dev/null; then umount "$work/mnt"; fi
  if [ -n "$loop" ]; then losetup -d "$loop" 2>/dev/null || true; fi
  if [ -z "$keep" ]; then rm -rf "$work"; fi
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- Material: 200 MB in 300 files, the same on every machine ---------------------------------------------------

python3 - "$work/payload" <<'END'
import os, random, sys

folder, count, total = sys.argv[1], 300, 200_000_000
rng = random.Random(1)
weights = [1.02**i for i in range(count)]
sizes = [int(total * w / sum(weights)) for w in weights]
sizes[-1] += total - sum(sizes)
for i, size in enumerate(sizes):
    path = os.path.join(folder, f"part-{i % 12:02}", f"file-{i:03}.bin")
    data = rng.randbytes(size)
    if os.path.exists(path) and os.path.getsize(path) == size:
        continue
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
END

mkdir -p "$work/profiles" "$work/mnt"
cat >"$work/cluster.yaml" <<'END'
cluster: {name: bench}
profiles: [profiles]
nodes:
  - {name: one, profile: bench}
END
{
  printf 'base: "%s"\nedits:\n' "$base"
  if [ "$grow" != 0 ]; then printf '  - {grow: {root: "+%sMiB"}}\n' "$grow"; fi
  printf '  - {tree: "root:/opt/payload", from: ../payload}\n'
} >"$work/profiles/bench.yaml"

# --- The sides ------------------------------------------------------------------------------------------------------

unpack() {
  xz -dc -T0 "$base" >"$work/unpacked.img"
  sync "$work/unpacked.img"
}

# The raw base, where the hand-made side finds it.
raw=$work/raw.img
xz -dc -T0 "$base" >"$raw"
sync "$raw"

by_hand() {
  local image=$work/by-hand.img start
  cp --sparse=always "$raw" "$image"
  if [ "$grow" != 0 ]; then
    truncate -s "+${grow}M" "$image"
    echo ', +' | sfdisk -q --no-reread --no-tell-kernel -N 2 "$image" >/dev/null
  fi
  start=$(sfdisk -d "$image" | sed -n 's/.*img2 : start= *\([0-9]*\),.*/\1/p')
  loop=$(losetup -f --show -o $((start * 512)) "$image")
  if [ "$grow" != 0 ]; then
    # resize2fs asks for the check.
    e2fsck -fp "$loop" >/dev/null || [ $? -eq 1 ]
    resize2fs "$loop" >/dev/null 2>&1
  fi
  mount "$loop" "$work/mnt"
  mkdir -p "$work/mnt/opt/payload"
  cp -r "$work/payload/." "$work/mnt/opt/payload/"
  umount "$work/mnt"
  losetup -d "$loop"
  loop=
  sync "$image"
}

# build FORMAT CACHE: under GNU time where it is there, for the peak of memory
build() {
  local measure=()
  if [ -x /usr/bin/time ]; then measure=(/usr/bin/time -f '%M' -o "$work/peak"); fi
  CEIL_CACHE=$2 ${measure[@]+"${measure[@]}"} "$program" build one --file "$work/cluster.yaml" \
    --out "$work/out" --format "$1" >"$work/said" 2>&1 || {
    cat "$work/said" >&2
    return 1
  }
  local file
  for file in "$work"/out/one.*; do
    if [ -f "$file" ]; then sync "$file"; fi
  done
}

# measure NAME COMMAND...: appends seconds (and the peak in KiB) of one run to the records of NAME
measure() {
  local name=$1 begin end
  shift
  rm -rf "$work/out" "$work/unpacked.img" "$work/by-hand.img" "$work/peak"
  sync -f "$work"
  begin=$EPOCHREALTIME
  "$@"
  end=$EPOCHREALTIME
  printf '%s %s\n' "$(awk -v a="$begin" -v b="$end" 'BEGIN { printf "%.3f", b - a }')" \
    "$(cat "$work/peak" 2>/dev/null || echo 0)" >>"$work/times-$name"
}

rm -f "$work"/times-*
hand=
if [ "$(id -u)" = 0 ] && [ "$format" = img ]; then hand=1; fi
run=0
while [ $run -lt "$runs" ]; do
  run=$((run + 1))
  printf 'side-by-side: run %s of %s\n' "$run" "$runs" >&2
  measure xz unpack
  rm -rf "$work/cache"
  measure cold build "$format" "$work/cache"
  if [ -n "$hand" ]; then measure hand by_hand; fi
  measure warm build "$format" "$work/cache"
  measure none build none "$work/cache"
done

# --- The table --------------------------------------------------------------------------------------------------------

best() { sort -n "$work/times-$1" | sed -n 1p | cut -d' ' -f1; }
median() { sort -n "$work/times-$1" | awk '{ t[NR] = $1 } END { printf "%.3f", NR % 2 ? t[(NR + 1) / 2] : (t[NR / 2] + t[NR / 2 + 1]) / 2 }'; }
peak() { awk '$2 > m { m = $2 } END { if (m) printf "%.0f MiB", m / 1024; else printf "–" }' "$work/times-$1"; }
ratio() { awk -v a="$(best "$1")" -v b="$(best "$2")" 'BEGIN { printf "%.2f", a / b }'; }
row() { printf '| %s | %s | %s | %s | %s | %s |\n' "$1" "$(best "$2")" "$(median "$2")" "$(peak "$2")" "$3" "$4"; }

printf '\n%s, %s cores; base %s (%s MiB raw), payload 200 MB in 300 files, root grown by %s MiB, best of %s.\n\n' \
  "$(uname -sm)" "$(getconf _NPROCESSORS_ONLN)" "$(basename "$base")" "$(($(stat -c %s "$raw") / 1048576))" "$grow" "$runs"
printf '| side | fastest, s | median, s | peak memory | ratio | target |\n| --- | ---: | ---: | ---: | ---: | ---: |\n'
row "cold: \`xz -dc -T0\` alone" xz 1 ''
row "cold: \`ceil-img build\` ($format), empty cache" cold "$(ratio cold xz)" '≤ 1.15'
if [ -n "$hand" ]; then
  row "warm: copy, grow, mount, \`cp\`, umount" hand 1 ''
  row "warm: \`ceil-img build\` ($format)" warm "$(ratio warm hand)" '≤ 1.00'
  row "warm: \`ceil-img build --format none\`" none "$(ratio none hand)" '≤ 0.10'
else
  row "warm: \`ceil-img build\` ($format)" warm – –
  row "warm: \`ceil-img build --format none\`" none – –
  printf '\nThe hand-made side was left out: it needs root and FORMAT=img.\n'
fi
