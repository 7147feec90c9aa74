#!/bin/bash
# Builds a cluster from the rig with ceil-img alone, boots it in the emulator, and asks it from outside.
#
# usage: CEIL_RIG=DIR tests/e2e.sh [SCENARIO]... [--program PROGRAM]
#
#   node      one node without Kubernetes: cloud-init, names, login, clock zone, machine id, address, log, clean FAT,
#             a second boot
#   cluster   server and agent of kubeadm, both powered on together, without an uplink: Ready, pods of two nodes speak
#   faults    the same, but: the agent first and the server late, the power cut as steps begin, clocks months behind
#
# The first two by default. The transcript with times is printed; consoles stay in the folder that is named at the end when
# something fails. Needs QEMU, ssh, curl, python3, kubectl and what fixtures/rig-cluster.sh needs.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
program=$here/target/release/ceil-img
scenarios=()
while [ $# -gt 0 ]; do
  case $1 in
  --program)
    program=$2
    shift
    ;;
  node | cluster | faults) scenarios+=("$1") ;;
  *)
    echo "usage: CEIL_RIG=DIR $0 [node] [cluster] [faults] [--program PROGRAM]" >&2
    exit 2
    ;;
  esac
  shift
done
[ ${#scenarios[@]} -gt 0 ] || scenarios=(node cluster)
: "${CEIL_RIG:?set it to the folder of the rig}"
program=$(realpath "$program")
PATH=$PATH:/usr/sbin:/sbin
tools=(qemu-system-aarch64 ssh ssh-keygen curl python3 xz)
[ "${scenarios[*]}" = node ] || tools+=(kubectl)
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
export CEIL_CACHE=$work/cache E2E_WORK=$work

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$here/fixtures/rig-cluster.sh" "$work/rig" "$program" "$port"
python3 -m http.server --bind 127.0.0.1 --directory "$work/rig/www" "$port" >/dev/null 2>&1 &
server=$!
until curl -s --output /dev/null "http://127.0.0.1:$port/"; do sleep 0.2; done

# --- What is asked ----------------------------------------------------------------------------------------------------

# These run as the command of `ceil-img boot`, with KUBECONFIG, CEIL_SSH_CONFIG and CEIL_BOOT_DIR set.
cat >"$work/ask.sh" <<'END'
set -euo pipefail
on() { # NODE COMMAND
  ssh -n -i "$E2E_WORK/rig/id_ed25519" -o BatchMode=yes -F "$CEIL_SSH_CONFIG" "$1" "$2"
}
is() { # WHAT FOUND EXPECTED
  if [ "$2" = "$3" ]; then echo "ok    $1: $2"; else
    echo "WRONG $1: $2, not $3"
    exit 1
  fi
}
has() { # WHAT TEXT PART
  case $2 in
  *"$3"*) echo "ok    $1: $3" ;;
  *)
    echo "WRONG $1 has no $3: $2"
    exit 1
    ;;
  esac
}
END
cat >"$work/node.sh" <<'END'
. "$E2E_WORK/ask.sh"
is "F033, F052, P49 a login with strict checking" "$(on one 'echo in')" in
is "F043 host name" "$(on one 'hostnamectl hostname')" one
is "F044 full name" "$(on one 'hostname -f')" one.rig.home.arpa
has "F048, F050 account" "$(on one 'id; sudo -n true && echo sudo works')" "sudo works"
has "F047 time zone" "$(on one 'timedatectl show -p Timezone --value')" Europe/Berlin
has "F140 address" "$(on one 'ip -4 -brief address show eth0')" 10.11.0.101/24
is "P39 default routes" "$(on one 'ip route show default | wc -l')" 1
is "F058, F253 units that failed" "$(on one 'systemctl list-units --state=failed --no-legend | wc -l')" 0
is "F253 system" "$(on one 'systemctl is-system-running')" running
has "F025, F026, F027 controllers" " $(on one 'cat /sys/fs/cgroup/cgroup.controllers') " " memory "
has "F026, P05 controllers" " $(on one 'cat /sys/fs/cgroup/cgroup.controllers') " " cpuset "
has "F027, P03 controllers" " $(on one 'cat /sys/fs/cgroup/cgroup.controllers') " " pids "
is "F070, P10 swap" "$(on one 'sudo swapon --show | wc -l')" 0
is "P56 compressed swap" "$(on one 'ls /dev | grep -c zram')" 0
is "F051 passwords for SSH" "$(on one 'sudo sshd -T | grep ^passwordauthentication')" "passwordauthentication no"
has "F074, P30 forwarding" "$(on one 'sudo sysctl -n net.ipv4.ip_forward net.ipv6.conf.all.forwarding | tr "\n" " "')" "1 1"
has "F073, P30 bridges" "$(on one 'sudo sysctl -n net.bridge.bridge-nf-call-iptables net.bridge.bridge-nf-call-ip6tables | tr "\n" " "')" "1 1"
has "F075 modules" " $(on one 'lsmod | cut -d " " -f 1 | tr "\n" " "') " " br_netfilter "
has "F078 iptables" "$(on one 'sudo iptables -V')" nf_tables
is "P48 its name in the file of hosts" "$(on one 'grep -c one.rig.home.arpa /etc/hosts')" 1
has "cloud-init" "$(on one 'cloud-init status || true')" "status: done"
is "cloud-init's errors" "$(on one 'sudo python3 -c "import json; print(len(json.load(open(\"/run/cloud-init/result.json\"))[\"v1\"][\"errors\"]))"')" 0
has "F030 root" "$(on one 'test $(df -m --output=size / | tail -n 1) -ge 7400 && echo grown')" grown
is "P01, F062 machine id" "$(on one 'grep -c "^[0-9a-f]\{32\}$" /etc/machine-id')" 1
has "F251 log" "$(on one 'sudo cat /boot/firmware/ceil-firstboot.log')" " ready"
is "secrets on the FAT" "$(on one 'sudo grep -c passwd: /boot/firmware/user-data || true')" "$(printf '1')"
on one 'sudo cat /etc/machine-id' >"$E2E_WORK/machine-id.new"
if [ -e "$E2E_WORK/machine-id" ]; then
  is "machine id after a second boot" "$(cat "$E2E_WORK/machine-id.new")" "$(cat "$E2E_WORK/machine-id")"
  # The emulator's own noise is told beside it.
  on one 'systemd-analyze blame --no-pager | grep -e ceil- -e cloud-init | head -n 20; systemd-analyze time'
  spent=$(on one 'systemd-analyze blame --no-pager | grep ceil- | grep -v -e "ms " | wc -l')
  is "units of ours that take a second or more of a later boot" "$spent" 0
fi
mv "$E2E_WORK/machine-id.new" "$E2E_WORK/machine-id"
END
cat >"$work/cluster.sh" <<'END'
. "$E2E_WORK/ask.sh"
kubectl get nodes -o wide
kubectl get pods --all-namespaces -o wide
for node in one two; do
  is "F104 node $node" "$(kubectl get node $node -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" True
done
is "F103 API" "$(kubectl get --raw /readyz)" ok
is "F120 label" "$(kubectl get node two -o 'jsonpath={.metadata.labels.example\.test/disk}')" slow
is "F111 address" "$(kubectl get node two -o 'jsonpath={.status.addresses[?(@.type=="InternalIP")].address}')" 10.11.0.102
is "F080 runtime" "$(kubectl get node two -o 'jsonpath={.status.nodeInfo.containerRuntimeVersion}' | cut -d : -f 1)" containerd
pods=()
for node in one two; do
  until pod=$(kubectl get pods -l app=smoke --field-selector "spec.nodeName=$node,status.phase=Running" \
    -o 'jsonpath={range .items[*]}{.metadata.name} {.status.podIP}{end}') && [ -n "$pod" ]; do sleep 5; done
  echo "ok    F190 the add-on's pod on $node: $pod"
  pods+=("$pod")
done
server=(${pods[0]})
agent=(${pods[1]})
is "F113 a pod on two reaches one's" "$(kubectl exec "${agent[0]}" -- wget -q -O - "http://${server[1]}:8080")" "${server[0]}"
is "F113 a pod on one reaches two's" "$(kubectl exec "${server[0]}" -- wget -q -O - "http://${agent[1]}:8080")" "${agent[0]}"
is "F117, P62 kubeconfig of the administrator" "$(on one 'kubectl get --raw /readyz; stat -c %a ~/.kube/config' | tr "\n" " ")" "ok600 "
is "P28 units that failed on two" "$(on two 'systemctl list-units --state=failed --no-legend | wc -l')" 0
has "F079 what the cluster waits for" "$(on one 'systemctl show ceil-cluster --property After')" ceil-time.service
is "P01, F062 machine ids" "$( (on one 'cat /etc/machine-id'; on two 'cat /etc/machine-id') | sort -u | wc -l)" 2
is "F106, P58 images from elsewhere" "$(kubectl get events --all-namespaces -o 'jsonpath={range .items[?(@.reason=="Pulling")]}{.message}{"\n"}{end}' | wc -l)" 0
for node in one two; do
  echo "--- ceil-firstboot.log of $node"
  on "$node" 'cat /boot/firmware/ceil-firstboot.log'
done
END

cat >"$work/faults.sh" <<'END'
bash "$E2E_WORK/cluster.sh"
. "$E2E_WORK/ask.sh"
has "F110, P29 the agent asked before there was a server" "$(on two 'cat /boot/firmware/ceil-firstboot.log')" " waiting "
begins() { # NODE STEP
  on "$1" "grep -c ' $2 *begin' /boot/firmware/ceil-firstboot.log"
}
for cut in "one images" "one cluster" "one addons" "two cluster"; do
  is "F252 how often $cut began" "$(begins $cut)" 2
done
END

# --- Scenarios --------------------------------------------------------------------------------------------------------

run_node() {
  cd "$work/rig"
  "$program" build one --file node.yaml --out "$work/node-out" --format none --verify
  "$program" boot one --file node.yaml --dir "$work/node" --until ready --timeout 20m --keep -- bash "$work/node.sh"
  echo "e2e: the same card again"
  "$program" boot one --file node.yaml --dir "$work/node" --resume --until ready --timeout 20m -- bash "$work/node.sh"
}

run_cluster() {
  cd "$work/rig"
  "$program" boot --all --file cluster.yaml --dir "$work/cluster" --timeout "${E2E_PATIENCE:-50m}" -- bash "$work/cluster.sh"
}

run_faults() {
  cd "$work/rig"
  "$program" boot --all --file cluster.yaml --dir "$work/faults" --timeout "${E2E_PATIENCE:-60m}" \
    --fault late=one:60 --fault power-cut@one:images --fault power-cut@one:cluster --fault power-cut@two:cluster \
    --fault power-cut@one:addons --fault clock=2026-01-15T03:00:00 -- bash "$work/faults.sh"
}

for scenario in "${scenarios[@]}"; do
  echo "=== e2e: $scenario"
  "run_$scenario"
done
echo "e2e: ok"
