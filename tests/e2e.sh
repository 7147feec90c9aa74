#!/bin/bash
# Builds a cluster from the rig with ceil-img alone, boots it in the emulator, and asks it from outside.
#
# usage: CEIL_RIG=DIR tests/e2e.sh [SCENARIO]... [--program PROGRAM]
#
#   node      one node without Kubernetes: cloud-init, names, login, clock zone, machine id, address, log, clean FAT,
#             a second boot
#   overhead  how long a node takes for a later boot, beside the bare base
#   swap      a card that has booted gets another profile by `ceil-img reconfigure`, and boots
#   disks     a registry and a database with their data on a disk, which changes places with another one; names in .local,
#             compressed swap
#   hypriot   one like that of `node`, on a base in the layout of HypriotOS, booted once
#   cluster   server and agent of kubeadm, both powered on together, without an uplink: Ready, pods of two nodes speak;
#             then the agent is reset and joins again
#   later     the agent comes two days after its server: a token of a day refuses it, one without an end does not
#   faults    the same, but: the agent first and the server late, the power cut as steps begin, the server rebooted in the
#             middle, clocks months behind; then a pod takes all memory
#   router    a router, a server and an agent of kubeadm and a guest: addresses, names, translation, firewall, tunnel,
#             registries and a volume by NFS, all with packages that the cards brought along
#   k3s       server and agent of k3s, the agent first: with CEIL_K3S, CEIL_K3S_VERSION and CEIL_K3S_IMAGES the real
#             program, else one that demands its files
#   spoiled   agents whose images have another token, another authority, no memory cgroup: each says so
#
# `node` and `cluster` by default; PROGRAM is built when it is not given. The transcript with times is printed; consoles stay
# in the folder that is named at the end when something fails. Needs QEMU, ssh, curl, python3, kubectl and what
# fixtures/rig-cluster.sh needs.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
program=
scenarios=()
while [ $# -gt 0 ]; do
  case $1 in
  --program)
    program=$2
    shift
    ;;
  node | overhead | swap | disks | hypriot | cluster | later | faults | router | k3s | spoiled) scenarios+=("$1") ;;
  *)
    echo "usage: CEIL_RIG=DIR $0 [node] [overhead] [swap] [disks] [hypriot] [cluster] [later] [faults] [router] [k3s] [spoiled] [--program PROGRAM]" >&2
    exit 2
    ;;
  esac
  shift
done
[ ${#scenarios[@]} -gt 0 ] || scenarios=(node cluster)
: "${CEIL_RIG:?set it to the folder of the rig}"
if [ -z "$program" ]; then
  cargo build --locked --release --manifest-path "$here/Cargo.toml"
  program=$here/target/release/ceil-img
fi
program=$(realpath "$program")
PATH=$PATH:/usr/sbin:/sbin
tools=(qemu-system-aarch64 ssh ssh-keygen curl python3 xz)
case "${scenarios[*]}" in *cluster* | *later* | *faults* | *router* | *k3s*) tools+=(kubectl) ;; esac
for tool in "${tools[@]}"; do
  command -v "$tool" >/dev/null || {
    echo "e2e: $tool is missing" >&2
    exit 2
  }
done

work=$(mktemp -d "${TMPDIR:-/tmp}/e2e.XXXXXX")
server=
finish() {
  code=$?
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi
  if [ "$code" = 0 ]; then rm -rf "$work"; else echo "e2e: failed; consoles are below $work" >&2; fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
asks=$here/tests/e2e
export CEIL_CACHE=$work/cache E2E_WORK=$work E2E_ASK=$asks
# How long nodes may take to be ready, and answers after that.
patience=${E2E_PATIENCE:-50m}

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$here/fixtures/rig-cluster.sh" "$work/rig" "$program" "$port"
python3 -m http.server --bind 127.0.0.1 --directory "$work/rig/www" "$port" >/dev/null 2>&1 &
server=$!
until curl -s --output /dev/null "http://127.0.0.1:$port/"; do sleep 0.2; done

# --- Scenarios --------------------------------------------------------------------------------------------------------

run_node() {
  cd "$work/rig"
  "$program" build one --file node.yaml --out "$work/node-out" --format none --verify
  "$program" boot one --file node.yaml --dir "$work/node" --until ready --timeout 20m --keep -- timeout "$patience" bash "$asks/node.sh"
  echo "e2e: the same card again"
  "$program" boot one --file node.yaml --dir "$work/node" --resume --until ready --timeout 20m -- timeout "$patience" bash "$asks/node.sh"
}

# Both have done their first boot, and then boot in turn, twice each, with nothing beside them.
run_overhead() {
  cd "$work/rig"
  local node until turn
  for turn in --keep --resume --resume; do
    for node in calm bare; do
      if [ $node = calm ]; then until=ready; else until=login; fi
      "$program" boot $node --file node.yaml --dir "$work/$node" $turn --until $until --timeout 20m -- timeout "$patience" bash "$asks/overhead.sh" $node "$turn"
    done
  done
  echo "e2e: later boots"
  cat "$work/overhead"
}

run_swap() {
  cd "$work/rig"
  "$program" boot calm --file node.yaml --dir "$work/swap" --keep --until ready --timeout 20m -- timeout "$patience" bash "$asks/swap.sh" first
  sed 's/^  - {name: calm, /&users: {second: {groups: [users]}}, /' node.yaml >other.yaml
  qemu-img convert -O raw "$work/swap/calm.qcow2" "$work/swap/card.img"
  # The root is not written by it, which it says with its code.
  "$program" reconfigure "$work/swap/card.img" calm --file other.yaml --yes || [ $? = 1 ]
  qemu-img convert -O qcow2 "$work/swap/card.img" "$work/swap/calm.qcow2"
  rm "$work/swap/card.img"
  # The card is that of the other file now.
  local content
  content=$("$program" build calm --file other.yaml --format none --out "$work/swap-out" | cut -d ' ' -f 1)
  printf 'sha256:%s' "$content" >"$work/swap/calm.content"
  "$program" boot calm --file other.yaml --dir "$work/swap" --resume --until login --timeout 20m -- timeout "$patience" bash "$asks/swap.sh" second
}

run_disks() {
  cd "$work/rig"
  mkdir -p "$work/old"
  echo kept >"$work/old/kept"
  truncate -s 64M "$work/old.img"
  mke2fs -q -t ext4 -L old -d "$work/old" "$work/old.img"
  local blank=store:data=1GiB old=store:old=$work/old.img
  "$program" boot --all --file disks.yaml --dir "$work/disks" --keep --timeout "$patience" --forward store:3306 \
    --disk "$blank" --disk "$old" -- timeout "$patience" bash "$asks/disks.sh" first
  echo "e2e: the disks change places"
  "$program" boot --all --file disks.yaml --dir "$work/disks" --resume --timeout "$patience" --forward store:3306 \
    --disk "$old" --disk "$blank" -- timeout "$patience" bash "$asks/disks.sh" second
}

run_hypriot() {
  cd "$work/rig"
  "$program" build one --file hypriot.yaml --out "$work/hypriot-out" --format none --verify
  "$program" boot one --file hypriot.yaml --dir "$work/hypriot" --until ready --timeout 20m -- timeout "$patience" bash "$asks/node.sh"
}

run_cluster() {
  cd "$work/rig"
  "$program" boot --all --file cluster.yaml --dir "$work/cluster" --timeout "$patience" \
    -- timeout "$patience" bash -c "bash '$asks/cluster.sh' && bash '$asks/reset.sh'"
}

run_faults() {
  cd "$work/rig"
  "$program" boot --all --file cluster.yaml --dir "$work/faults" --timeout "$patience" \
    --fault late=one:60 --fault power-cut@one:images --fault power-cut@one:cluster --fault power-cut@two:cluster \
    --fault power-cut@one:addons --fault reboot@one:420 --fault clock=2026-01-15T03:00:00 \
    -- timeout "$patience" bash -c "bash '$asks/faults.sh' && bash '$asks/memory.sh'"
}

# The agent gets its card two days after the server began: with a token of a day, and with one that does not end.
run_later() {
  cd "$work/rig"
  local life day
  day=$(date -u -d '+2 days' +%Y-%m-%dT%H:%M:%S)
  for life in 24h never; do
    sed "s/^kubernetes:$/&\n  token-ttl: $life/" cluster.yaml >"later-$life.yaml"
    "$program" boot one --file "later-$life.yaml" --dir "$work/later-$life" --keep --until ready --timeout "$patience"
    echo "e2e: two days later, with a token of $life"
    if [ $life = never ]; then
      "$program" boot --all --file "later-$life.yaml" --dir "$work/later-$life" --resume --fault "clock=$day" \
        --timeout "$patience" -- timeout "$patience" bash "$asks/later.sh"
    else
      refused "later-$life" --file "later-$life.yaml" --resume --fault "clock=$day"
      says "later-$life" two "the server does not know the token of this card"
      echo "ok    F109, P23 two days later a token of a day is none"
    fi
  done
}

# Boots nodes of which some cannot get there: boot fails, and says of each why.
refused() { # DIR OPTION...
  local log=$work/$1.log code=0
  "$program" boot --all --dir "$work/$1" --until ready --timeout "${E2E_REFUSAL:-15m}" "${@:2}" 2>"$log" || code=$?
  cat "$log" >&2
  [ "$code" = 1 ] || { echo "e2e: nodes that cannot get there, and boot ends with $code" >&2; exit 1; }
}
says() { # DIR NODE WHY
  grep -F "node \`$2\` is failed" "$work/$1.log" | grep -F "$3"
}

run_k3s() {
  cd "$work/rig"
  "$program" boot --all --file k3s.yaml --dir "$work/k3s" --timeout "$patience" --fault late=one:60 \
    -- timeout "$patience" bash "$asks/k3s.sh"
}

run_router() {
  cd "$work/rig"
  # The images that are booted are those whose digests `build` prints.
  "$program" build --all --file router.yaml --format none
  "$program" export wireguard --file router.yaml --out "$work/clients"
  "$program" export known-hosts --file router.yaml >"$work/known_hosts"
  "$program" boot --all --file router.yaml --dir "$work/router" --timeout "$patience" \
    --forward gate:22 --forward gate:53 --forward gate:2049 --forward gate:5000 --forward gate:5001 \
    -- timeout "$patience" bash "$asks/router.sh"
}

# Three images of agents that cannot join, and what their boards say of it.
run_spoiled() {
  cd "$work/rig"
  "$program" --quiet build two --file cluster.yaml --out "$work/spoiled-out" --format img
  "$program" --quiet extract "$work/spoiled-out/two.img" root:/etc/kubernetes/kubeadm.yaml "$work/kubeadm.yaml"
  rm "$work/spoiled-out/two.img"
  mkdir -p spoiled
  sed 's/\(token: *"\{0,1\}[a-z0-9]\{6\}\.\)[a-z0-9]\{16\}/\10123456789abcdef/' "$work/kubeadm.yaml" >spoiled/token.yaml
  sed "s/sha256:[0-9a-f]\{64\}/sha256:$(printf another | sha256sum | cut -d ' ' -f 1)/" "$work/kubeadm.yaml" >spoiled/authority.yaml
  for name in token authority; do
    ! cmp -s "$work/kubeadm.yaml" "spoiled/$name.yaml" || { echo "e2e: nothing was spoiled in $name.yaml" >&2; exit 1; }
  done
  {
    sed '/^  - name: two$/,$d' cluster.yaml
    for name in token authority; do
      printf '  - {name: %s, profile: agent, address: 10.11.0.%s/24, images: [images/pause.tar],\n' "$name" "$((110 + ${#name}))"
      printf '     edits: [{put: "root:/etc/kubernetes/kubeadm.yaml", from: spoiled/%s.yaml, mode: "0600"}]}\n' "$name"
    done
    printf '  - {name: memory, profile: agent, address: 10.11.0.110/24, images: [images/pause.tar],\n'
    printf '     edits: [{kernel-args: {remove: [cgroup_enable=memory]}}]}\n'
  } >spoiled.yaml
  refused spoiled --file spoiled.yaml
  says spoiled memory "the kernel has no memory cgroup: cmdline.txt lacks cgroup_enable=memory"
  echo "ok    P03, F025 an image without a memory cgroup says so"
  says spoiled token "the server does not know the token of this card"
  echo "ok    F109 an image with another token says so"
  says spoiled authority "the server's authority is not the one of this card"
  echo "ok    F108 an image with another authority says so"
}

for scenario in "${scenarios[@]}"; do
  echo "=== e2e: $scenario"
  "run_$scenario"
done
echo "e2e: ok"
