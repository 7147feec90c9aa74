#!/bin/bash
# How long many nodes take: the set bee42, fifteen boards in five clusters, on a real base with programs of real size.
#
# usage: CEIL_RIG=DIR benches/many-nodes.sh
#
#   first    one node with an empty cache: base and programs are fetched, verified and unpacked, from a server on
#            this machine
#   second   another node with what the first one left
#   N nodes  `build --format none` of so many nodes with a warm cache: time, and the largest memory of the process
#
#   CEIL_RIG     folder with base/*.img.xz, or
#   BENCH_BASE   the .img.xz itself
#   CEIL_IMG     the program                        (target/release/ceil-img)
#   BENCH_DIR    working folder, about 5 GB         (a fresh one in TMPDIR, removed at the end)
#   RUNS         runs of each line; the fastest counts   (3)
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "$0")/.." && pwd)
program=$(realpath "${CEIL_IMG:-$here/target/release/ceil-img}")
runs=${RUNS:-3}

die() {
  printf 'many-nodes: %s\n' "$*" >&2
  exit 2
}

base=${BENCH_BASE:-}
if [ -z "$base" ]; then
  [ -n "${CEIL_RIG:-}" ] || die "set CEIL_RIG to a folder with base/*.img.xz, or BENCH_BASE to an .img.xz"
  for base in "$CEIL_RIG"/base/*.img.xz; do :; done
fi
[ -f "$base" ] || die "$base is not there"
[ -x "$program" ] || die "$program is not there; run: cargo build --release"
command -v python3 >/dev/null || die "python3 is missing"
base=$(realpath "$base")

if [ -n "${BENCH_DIR:-}" ]; then
  mkdir -p "$BENCH_DIR"
  work=$(cd "$BENCH_DIR" && pwd)
  keep=1
else
  work=$(mktemp -d "${TMPDIR:-/tmp}/many-nodes.XXXXXX")
  keep=
fi
server=
cleanup() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi
  if [ -z "$keep" ]; then rm -rf "$work"; fi
}
trap cleanup EXIT

# --- What is fetched: an ELF header and noise, as long as the real files ------------------------------------------

mkdir -p "$work/www" "$work/cluster" "$work/home"
ln -sf "$base" "$work/www/base.img.xz"
python3 - "$work/www" <<'PY'
import random, sys
noise = random.Random(1)
head = bytes([0x7F]) + b"ELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(44)
for name, size, start in [("k3s-arm64", 71368866, head), ("k3s-airgap-images-arm64.tar.zst", 175402374, b"")]:
    with open(f"{sys.argv[1]}/{name}", "wb") as out:
        out.write(start)
        left = size - len(start)
        while left:
            piece = noise.randbytes(min(left, 1 << 20))
            out.write(piece)
            left -= len(piece)
PY
python3 - "$work/www" "$work/port" <<'PY' &
import functools, http.server, os, sys
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=sys.argv[1]))
with open(sys.argv[2] + ".new", "w") as out:
    out.write(str(server.server_address[1]))
os.rename(sys.argv[2] + ".new", sys.argv[2])
server.serve_forever()
PY
server=$!
for _ in $(seq 100); do
  [ -s "$work/port" ] && break
  sleep 0.1
done
[ -s "$work/port" ] || die "the server did not start"
url=http://127.0.0.1:$(cat "$work/port")

# --- The cluster ----------------------------------------------------------------------------------------------------

export HOME=$work/home
"$program" -q init bee42 --yes --dir "$work/cluster" >/dev/null
digest() { sha256sum "$work/www/$1" | cut -d' ' -f1; }
cat >"$work/cluster/artifacts.yaml" <<YAML
- name: k3s
  files:
    - {version: "1.36.4+k3s1", arch: arm64, url: "$url/k3s-arm64", sha256: $(digest k3s-arm64)}
- name: k3s-airgap-images
  files:
    - {version: "1.36.4+k3s1", arch: arm64, url: "$url/k3s-airgap-images-arm64.tar.zst",
       sha256: $(digest k3s-airgap-images-arm64.tar.zst)}
YAML

# best COMMAND...: fastest of $runs runs in seconds, and its largest resident memory in MiB. With FRESH set, each run
# begins without a cache.
best() {
  python3 - "$runs" "${FRESH:-}" "$work/cache" "$@" <<'PY'
import os, resource, shutil, subprocess, sys, time
runs, fresh, cache, command = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]
found = []
for _ in range(runs):
    if fresh:
        shutil.rmtree(cache, ignore_errors=True)
    begin = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found.append(time.monotonic() - begin)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(f"{min(found):.2f} {peak:.0f}")
PY
}

build() {
  best "$program" -q --cache "$work/cache" build --file "$work/cluster/cluster.yaml" --base "$url/base.img.xz" \
    --out "$work/out" --format none "$@"
}

names=()
while read -r name; do names+=("$name"); done < <(
  "$program" -q plan --all --file "$work/cluster/cluster.yaml" --base demo 2>/dev/null |
    awk '$1 ~ /crew/ && $2 != "of" { print $1 }'
)
[ ${#names[@]} = 15 ] || die "bee42 should have 15 boards and has ${#names[@]}"

row() { printf '%-34s %8s s %8s MiB\n' "$1" "$2" "$3"; }

read -r first memory < <(FRESH=1 build "${names[0]}")
row "first node, empty cache" "$first" "$memory"
read -r second memory < <(build "${names[1]}")
row "second node" "$second" "$memory"
for count in 1 5 10 15; do
  read -r seconds memory < <(build "${names[@]:0:count}")
  row "$count nodes" "$seconds" "$memory"
done
awk -v a="$first" -v b="$second" 'BEGIN { printf "second / first: %.3f (target: under 0.1)\n", b / a }'
