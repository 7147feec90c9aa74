#!/bin/bash
# Runs targets for a time each and says what came of it, one line a target.
#
# usage: [JOBS=2] [OUT=file] [TIMEOUT=20] fuzz/hour.sh [SECONDS] [TARGET...]
#
# TIMEOUT is the wall time in seconds after which one input counts as one that does not end: more on a busy machine.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-3600}
[[ $# == 0 ]] || shift
if [[ $# == 0 ]]; then
  set -- superblock group inode extent directory xattr journal fat mbr gpt bmap texts checksums
fi
out=${OUT:-/dev/null}
timeout=${TIMEOUT:-20}
triple=$(rustc -vV | sed -n 's/^host: //p')
[[ -d corpus/superblock ]] || ./seed.sh
(cd .. && cargo fuzz build --sanitizer none >&2)

one() { # TARGET
  local target=$1 log
  log=$(mktemp)
  mkdir -p "corpus/$target" "artifacts/$target"
  local before after code=0
  before=$(find "artifacts/$target" -type f ! -name 'slow-unit-*' | wc -l)
  # A share of a busy processor makes fewer executions: the time it had is told, too. One that fails ends early.
  local cpu wall=$SECONDS
  cpu=$({ TIMEFORMAT=%U; time "target/$triple/release/$target" "corpus/$target" \
    -artifact_prefix="artifacts/$target/" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout="$timeout" -max_len=4400 \
    -print_final_stats=1 >"$log" 2>&1; } 2>&1) || code=$?
  wall=$((SECONDS - wall))
  ((wall > 0)) || wall=1
  after=$(find "artifacts/$target" -type f ! -name 'slow-unit-*' | wc -l)
  local runs coverage files
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  # One that failed says no statistics of its own.
  [[ $runs ]] || runs=$(sed -n 's/^#\([0-9]*\).*/\1/p' "$log" | tail -1)
  coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
  files=$(find "corpus/$target" -type f | wc -l)
  printf '| %s | %s | %s | %s | %s | %s | %s | %s |\n' "$target" "$wall" "${cpu%.*}" "${runs:-0}" $((${runs:-0} / wall)) \
    "${coverage:-0}" "$files" $((after - before)) | tee -a "$out"
  [[ $code == 0 ]] || tail -n 40 "$log" >&2
  rm -f "$log"
}
export -f one
export seconds out timeout triple
{
  echo '| target | seconds | of processor | executions | per second | coverage | corpus | findings |'
  echo '| --- | --- | --- | --- | --- | --- | --- | --- |'
} | tee -a "$out"
printf '%s\n' "$@" | xargs -P "${JOBS:-2}" -I{} bash -c 'one {}'
