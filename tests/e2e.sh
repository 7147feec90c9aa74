#!/bin/bash
# Builds a cluster from the rig with ceil-img alone, boots it in the emulator, and asks it from outside.
#
# usage: CEIL_RIG=DIR tests/e2e.sh [SCENARIO]... [--program PROGRAM]
#
#   node      one node without Kubernetes: cloud-init, names, login, clock zone, machine id, address, log, clean FAT,
#             a second boot
#   hypriot   the same on a base in the layout of HypriotOS, once
#   cluster   server and agent of kubeadm, both powered on together, without an uplink: Ready, pods of two nodes speak;
#             then the agent is reset and joins again
#   faults    the same, but: the agent first and the server late, the power cut as steps begin, the server rebooted in the
#             middle, clocks months behind
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
  node | hypriot | cluster | faults | router | k3s | spoiled) scenarios+=("$1") ;;
  *)
    echo "usage: CEIL_RIG=DIR $0 [node] [hypriot] [cluster] [faults] [router] [k3s] [spoiled] [--program PROGRAM]" >&2
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
case "${scenarios[*]}" in *cluster* | *faults* | *router* | *k3s*) tools+=(kubectl) ;; esac
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
# How long nodes may take to be ready, and answers after that.
patience=${E2E_PATIENCE:-50m}

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
fat=$(on one 'findmnt -n -o TARGET -t vfat')
is "F033, F052, P49 a login with strict checking" "$(on one 'echo in')" in
is "F043 host name" "$(on one 'hostnamectl hostname')" one
is "F044 full name" "$(on one 'hostname -f')" one.rig.home.arpa
has "F048, F050 account" "$(on one 'id; sudo -n true && echo sudo works')" "sudo works"
has "F047 time zone" "$(on one 'timedatectl show -p Timezone --value')" Europe/Berlin
has "F046 locale" "$(on one 'localectl status | head -n 1; locale -a | tr "\n" " "')" LANG=de_DE.UTF-8
has "F046 locale that is made" "$(on one 'locale -a | tr "\n" " "')" de_DE.utf8
has "F140 address" "$(on one 'ip -4 -brief address show eth0')" 10.11.0.101/24
is "P39 default routes" "$(on one 'ip route show default | wc -l')" 1
is "F058, F253 units that failed" "$(on one 'systemctl list-units --state=failed --no-legend | wc -l')" 0
is "F058 cycles in the order of units" "$(on one 'sudo journalctl -b --no-pager | grep -c "ordering cycle"')" 0
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
has "F077 modules" " $(on one 'lsmod | cut -d " " -f 1 | tr "\n" " "') " " ip_vs "
is "F054 upgrades at the first boot" "$(on one 'grep -h -c "^Upgrade:" /var/log/apt/history.log 2>/dev/null || true' | grep -v '^0$' | wc -l)" 0
has "F055 a pin" "$(on one 'apt-cache policy containerd')" " 1001"
is "F087 a folder for data" "$(on one 'stat -c "%a %G" /var/volumes; touch /var/volumes/mine && echo written' | tr "\n" " ")" "2775 sudo written "
is "F088 a disk that is away" "$(on one 'systemctl is-active mnt-data.mount; findmnt -n /mnt/data | wc -l' | tr "\n" " ")" "inactive 0 "
has "F090 a file as a block device" "$(on one 'sudo losetup --noheadings --output NAME,BACK-FILE')" "/dev/loop0 /var/gluster.img"
is "P35 the file is made after the root has grown" "$(on one 'sudo journalctl -b -o short-monotonic --no-pager -u ceil-loop-disk | grep -c Failed')" 0
has "F078 iptables" "$(on one 'sudo iptables -V')" nf_tables
is "P63 its own name in the file of hosts" "$(on one 'grep -c "^127.0.1.1.*one.rig.home.arpa" /etc/hosts')" 1
has "cloud-init" "$(on one 'cloud-init status || true')" "status: done"
is "cloud-init's errors" "$(on one 'sudo python3 -c "import json; print(len(json.load(open(\"/run/cloud-init/result.json\"))[\"v1\"][\"errors\"]))"')" 0
has "F030 root" "$(on one 'test $(df -m --output=size / | tail -n 1) -ge 7400 && echo grown')" grown
is "P01, F062 machine id" "$(on one 'grep -c "^[0-9a-f]\{32\}$" /etc/machine-id')" 1
has "F251 log" "$(on one "sudo cat $fat/ceil-firstboot.log")" " ready"
is "secrets on the FAT" "$(on one "sudo grep -c passwd: $fat/user-data || true")" "$(printf '1')"
on one 'sudo cat /etc/machine-id' >"$CEIL_BOOT_DIR/machine-id.new"
on one 'cat /etc/hosts' >"$CEIL_BOOT_DIR/hosts.new"
if [ -e "$CEIL_BOOT_DIR/machine-id" ]; then
  is "machine id after a second boot" "$(cat "$CEIL_BOOT_DIR/machine-id.new")" "$(cat "$CEIL_BOOT_DIR/machine-id")"
  is "P48 the file of hosts after a second boot" "$(cat "$CEIL_BOOT_DIR/hosts.new")" "$(cat "$CEIL_BOOT_DIR/hosts")"
  blame=$(on one 'systemd-analyze blame --no-pager')
  grep -e ceil- -e cloud-init <<<"$blame"
  # But for the device in a file, which this node asks for.
  spent=$(awk '/ceil-/ && !/ceil-loop-disk/ {
    for (i = 1; i < NF; i++) t += $i * ($i ~ /ms$/ ? 1 : $i ~ /min$/ ? 60000 : 1000)
  } END { print int(t) }' <<<"$blame")
  is "units of ours in a later boot, $spent ms of less than 2000" "$([ "$spent" -lt 2000 ] && echo yes)" yes
  echo "with our units: $(on one 'systemd-analyze time | tail -n 1')"
fi
on one sync
for file in machine-id hosts; do mv "$CEIL_BOOT_DIR/$file.new" "$CEIL_BOOT_DIR/$file"; done
END
# The base with nothing of ours but an account, to compare with.
cat >"$work/bare.sh" <<'END'
. "$E2E_WORK/ask.sh"
until on bare true 2>/dev/null; do sleep 2; done
on bare 'cloud-init status --wait >/dev/null; systemctl is-system-running --wait' || true
is "units of ours on the bare base" "$(on bare 'systemctl list-unit-files --no-legend | grep -c ^ceil-')" 0
# What sshd made for itself is to outlive the end of this run, which is a power cut.
on bare sync
echo "the bare base:  $(on bare 'systemd-analyze time | tail -n 1')"
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
is "F121 taint" "$(kubectl get node two -o 'jsonpath={.spec.taints[?(@.key=="example.test/slow")].effect}')" PreferNoSchedule
is "F111 address" "$(kubectl get node two -o 'jsonpath={.status.addresses[?(@.type=="InternalIP")].address}')" 10.11.0.102
is "F080 runtime" "$(kubectl get node two -o 'jsonpath={.status.nodeInfo.containerRuntimeVersion}' | cut -d : -f 1)" containerd
bash "$E2E_WORK/pods.sh"
is "F117, P62 kubeconfig of the administrator" "$(on one 'kubectl get --raw /readyz; stat -c %a ~/.kube/config' | tr "\n" " ")" "ok600 "
is "P28 units that failed on two" "$(on two 'systemctl list-units --state=failed --no-legend | wc -l')" 0
has "F079 what the cluster waits for" "$(on one 'systemctl show ceil-cluster --property After')" ceil-time.service
is "P01, F062 machine ids" "$( (on one 'cat /etc/machine-id'; on two 'cat /etc/machine-id') | sort -u | wc -l)" 2
is "F106, P58 images from elsewhere" "$(kubectl get events --all-namespaces -o 'jsonpath={range .items[?(@.reason=="Pulling")]}{.message}{"\n"}{end}' | wc -l)" 0
kubectl run amd64 --image=example.test/busybox:1 --image-pull-policy=Never --restart=Never \
  --overrides='{"spec": {"nodeSelector": {"kubernetes.io/arch": "amd64"}, "tolerations": [{"operator": "Exists"}]}}' \
  --command -- sleep 1000000
until kubectl get events --field-selector involvedObject.name=amd64 -o 'jsonpath={.items[*].reason}' | grep -q FailedScheduling; do sleep 3; done
is "F219 the node of a pod for another processor" "$(kubectl get pod amd64 -o 'jsonpath={.spec.nodeName}')" ""
for node in one two; do
  echo "--- ceil-firstboot.log of $node"
  on "$node" 'cat /boot/firmware/ceil-firstboot.log'
done
END

# The add-on's pods, which reach each other.
cat >"$work/pods.sh" <<'END'
. "$E2E_WORK/ask.sh"
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
END

cat >"$work/k3s.sh" <<'END'
. "$E2E_WORK/ask.sh"
data=/var/lib/rancher/k3s
is "F100 the server's unit" "$(on one 'systemctl is-active k3s')" active
is "F101 the agent's unit" "$(on two 'systemctl is-active k3s-agent')" active
is "F102, P62 modes of what holds tokens" "$(on one 'sudo stat -c %a /etc/rancher/k3s/config.yaml'; on two 'sudo stat -c %a /etc/rancher/k3s/config.yaml')" "600
600"
is "F107 keys on the agent" "$(on two "sudo find $data /etc/rancher -name '*.key' | wc -l")" 0
# The first part of the token is the digest of the authority above all others, by a program that did not make it.
pin=$(on one "sudo tac $data/server/tls/server-ca.crt | sed '/BEGIN CERTIFICATE/q' | tac | openssl x509 -outform DER | sha256sum" | cut -d ' ' -f 1)
is "F108, P24 whom the agent trusts" "$(on two 'sudo grep -o "K10[0-9a-f]*" /etc/rancher/k3s/config.yaml')" "K10$pin"
has "F106 images of the card" "$(on two "ls $data/agent/images")" busybox.tar
has "F190 add-ons of the card" "$(on one "sudo ls $data/server/manifests")" smoke
is "F253 units that failed" "$(on one 'systemctl list-units --state=failed --no-legend | wc -l'; on two 'systemctl list-units --state=failed --no-legend | wc -l')" "0
0"
is "F253 markers" "$(on one 'ls /var/lib/ceil/ready'; on two 'ls /var/lib/ceil/ready')" "/var/lib/ceil/ready
/var/lib/ceil/ready"
if [ -n "${CEIL_K3S:-}" ]; then
  kubectl get nodes -o wide
  for node in one two; do
    is "F100, F101 node $node" "$(kubectl get node $node -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" True
  done
  is "F120 label" "$(kubectl get node two -o 'jsonpath={.metadata.labels.example\.test/disk}')" slow
  bash "$E2E_WORK/pods.sh"
else
  has "F101, F110 the agent waited for its server" "$(on two 'sudo journalctl -b --no-pager -u k3s-agent')" "does not answer yet"
fi
END

cat >"$work/reset.sh" <<'END'
. "$E2E_WORK/ask.sh"
# The agent forgets its cluster where it stands, and joins it again at its next boot.
before=$(kubectl get pods -l app=smoke --field-selector spec.nodeName=two -o 'jsonpath={.items[*].metadata.uid}')
kubectl delete node two
on two 'sudo ceil-reset --yes' 2>&1
is "F125 mounts, links and rules that stay" "$(on two 'findmnt -rn -o TARGET | grep -c -e kubelet -e containerd; ip -brief link | grep -c -e cni0 -e veth;
  sudo iptables-save | grep -c -e KUBE- -e CNI-; sudo ip netns list | wc -l; pgrep -c containerd-shim' | tr "\n" " ")" "0 0 0 0 0 "
is "F125 state that stays" "$(on two 'ls -d /var/lib/kubelet /var/lib/cni /etc/kubernetes/kubelet.conf /var/lib/ceil/ready 2>/dev/null | wc -l')" 0
on two 'sudo systemctl reboot' || true
until [ "$(kubectl get node two -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null)" = True ]; do sleep 5; done
echo "ok    P55 a node that was reset is a member again"
until pod=$(kubectl get pods -l app=smoke --field-selector spec.nodeName=two,status.phase=Running \
  -o 'jsonpath={.items[*].metadata.uid}') && [ -n "$pod" ]; do sleep 5; done
is "P55 its pod is another one" "$([ "$pod" != "$before" ] && echo yes)" yes
END

cat >"$work/router.sh" <<'END'
. "$E2E_WORK/ask.sh"
admin=(ssh -i "$E2E_WORK/rig/id_ed25519" -o BatchMode=yes -F "$CEIL_SSH_CONFIG")
uplink() { # PORT: the local one that leads to gate's uplink
  awk -v port="$1/tcp" '$1 == "gate" && $2 == "uplink" && $3 == port { print $4 }' "$CEIL_BOOT_DIR/ports"
}
kubectl get nodes -o wide
for node in one two; do
  is "F104 node $node" "$(kubectl get node $node -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" True
done
is "F019, F053 packages of the card on gate" "$(on gate "dpkg-query -W -f '\${db:Status-Abbrev}\${Package}\n' dnsmasq wireguard-tools docker-registry nfs-kernel-server | grep -c '^ii '")" 4
is "F019 packages of the card on two" "$(on two "dpkg-query -W -f '\${db:Status-Abbrev}' nfs-common")" "ii "
is "P58 packages of the network" "$(on gate 'ls /var/lib/apt/lists | grep -c Packages')" 0
is "F058 cycles in the order of units" "$(on gate 'sudo journalctl -b --no-pager | grep -c "ordering cycle"')" 0
is "F145 questions for names that nobody has end" "$(on gate 'timeout 20 resolvectl query --cache=no nobody.example.test >/dev/null 2>&1; [ $? != 124 ] && echo ended')" ended
is "F145 resolvers that lead back" "$(on gate 'sudo journalctl -b --no-pager -u dnsmasq | grep -c "using nameserver 127"')" 0
is "F253 units that failed on gate" "$(on gate 'systemctl list-units --state=failed --no-legend | wc -l')" 0

# Names and addresses, asked on the guest, which no port leads to.
through=("${admin[@]}" -o "ProxyCommand=${admin[*]} -W guest.rig.home.arpa:22 gate" -o HostKeyAlias=guest
  -o StrictHostKeyChecking=yes -o "UserKnownHostsFile=$E2E_WORK/known_hosts" admin@guest)
guest() { "${through[@]}" "$1" </dev/null; }
address=$(guest 'ip -4 -brief address show eth0')
has "F141, F143 the guest's address" "$address" 10.11.0.5
is "F142 its default route" "$(guest 'ip route show default | cut -d " " -f 3')" 10.11.0.1
is "F144 a node's full name" "$(guest 'getent ahostsv4 one.rig.home.arpa | head -n 1 | cut -d " " -f 1')" 10.11.0.101
is "F144 a node's name" "$(guest 'getent ahostsv4 two | head -n 1 | cut -d " " -f 1')" 10.11.0.102
is "P17, F143 the guest's own name" "$(on two 'getent ahostsv4 guest.rig.home.arpa | head -n 1 | cut -d " " -f 1')" \
  "$(grep -o '10\.11\.0\.5[0-9]\|10\.11\.0\.60' <<<"$address")"
is "F159 names of the ingress" "$(guest 'getent ahostsv4 any.apps.rig.home.arpa | head -n 1 | cut -d " " -f 1')" 10.11.0.101
is "F141 DHCP on the uplink" "$(on gate 'sudo ss -lnuH "sport = :67" | grep -c eth1')" 0
has "F141 DHCP on the LAN" "$(on gate 'sudo ss -lnuH "sport = :67"')" eth0

# Translation: counted when it leaves, whoever answers.
counted() { on gate "sudo nft list counter inet ceil $1 | grep -o 'packets [0-9]*' | cut -d ' ' -f 2"; }
before=$(counted lan-to-uplink)
guest 'sudo ping -c 2 -W 1 10.0.2.2 || true' >/dev/null
is "F146 translated packets" "$([ "$(counted lan-to-uplink)" -gt "$before" ] && echo more)" more

# The firewall, from the uplink: what is listed answers, what listens for the LAN alone does not.
answer() { # PORT
  python3 - "$(uplink "$1")" <<'PY'
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
s.settimeout(8)
try:
    s.sendall(b"GET /v2/ HTTP/1.0\r\n\r\n")
    print("answers" if s.recv(16) else "silent")
except OSError:
    print("silent")
PY
}
before=$(counted dropped-in)
is "F148 SSH from the uplink" "$(answer 22)" answers
for closed in 5000 5001 2049 53; do is "F148 port $closed from the uplink" "$(answer $closed)" silent; done
is "F148 dropped packets" "$([ "$(counted dropped-in)" -ge $((before + 4)) ] && echo more)" more
is "F148 the same from the LAN" "$(guest 'curl -s -o /dev/null -w "%{http_code}" http://gate.rig.home.arpa:5001/v2/')" 200
is "F148 a port that nobody listed, from the LAN" "$(guest 'timeout 5 bash -c "</dev/tcp/10.11.0.1/5355" 2>/dev/null && echo open || echo closed')" closed

# The tunnel: the exported file, with the way to one node alone, since this client is in the LAN already.
sed -e '/^DNS/d' -e 's/^AllowedIPs.*/AllowedIPs = 10.11.0.101, 10.12.0.0\/24/' "$E2E_WORK/clients/laptop.conf" |
  "${through[@]}" 'sudo tee /etc/wireguard/wg0.conf >/dev/null; sudo chmod 600 /etc/wireguard/wg0.conf; sudo wg-quick up wg0' 2>&1
has "F150 the way to a node" "$(guest 'ip route get 10.11.0.101')" "dev wg0"
has "F150 a node through the tunnel" "$(guest 'sudo ping -c 3 -W 5 10.11.0.101')" " 0% packet loss"
is "P41 a name while the tunnel is up" "$(guest 'getent ahostsv4 two.rig.home.arpa | head -n 1 | cut -d " " -f 1')" 10.11.0.102
has "F150 the other end" "$(on gate 'sudo wg show wg0')" "latest handshake"

# Registries.
on one 'sudo ctr -n k8s.io images tag example.test/busybox:1 gate.rig.home.arpa:5001/library/busybox:1 >/dev/null;
  sudo ctr -n k8s.io images push --plain-http gate.rig.home.arpa:5001/library/busybox:1 >/dev/null'
has "F154 the private registry" "$(guest 'curl -s http://gate.rig.home.arpa:5001/v2/_catalog')" library/busybox
run() { # NAME IMAGE
  kubectl run "$1" --image="$2" --image-pull-policy=Always --restart=Never \
    --overrides='{"spec": {"nodeName": "two"}}' --command -- sleep 1000000
  kubectl wait --for=condition=Ready --timeout=300s "pod/$1"
}
run private gate.rig.home.arpa:5001/library/busybox:1
echo "ok    F085, F207, P37 a pull from the private registry"
run mirrored docker.io/library/busybox:1
has "F084 the mirror's log" "$(on gate 'sudo journalctl -b --no-pager -u ceil-registry-mirror | grep "10.11.0.102 "')" "HEAD /v2/library/busybox/manifests/1?ns=docker.io HTTP/1.1\" 200"
# A system that has none of the layers yet fetches all of them.
guest 'sudo systemctl start containerd; sudo ctr images pull --plain-http gate.rig.home.arpa:5000/library/busybox:1 >/dev/null'
has "F153 what the mirror keeps" "$(guest 'curl -s http://gate.rig.home.arpa:5000/v2/_catalog')" library/busybox

# A volume that both nodes write to.
for node in one two; do
  until pod=$(kubectl get pods -l app=writer --field-selector "spec.nodeName=$node,status.phase=Running" \
    -o 'jsonpath={.items[*].metadata.name}') && [ -n "$pod" ]; do sleep 5; done
done
is "F174, F175 what one's pod reads of two's" "$(kubectl exec "$(kubectl get pods -l app=writer --field-selector spec.nodeName=one -o name)" -- busybox cat /shared/two)" "from two"
is "F175 what the server has" "$(on gate 'cat /srv/nfs/one /srv/nfs/two' | tr '\n' ' ')" "from one from two "
has "F173 exports" "$(on gate 'sudo exportfs -v')" "/srv/nfs"
is "F174 what two mounts" "$(on two 'findmnt -n -t nfs4 -o SOURCE | head -n 1')" 10.11.0.1:/srv/nfs
for node in gate one two; do
  echo "--- ceil-firstboot.log of $node"
  on "$node" 'cat /boot/firmware/ceil-firstboot.log'
done
END

cat >"$work/faults.sh" <<'END'
bash "$E2E_WORK/cluster.sh"
. "$E2E_WORK/ask.sh"
has "F110, P29 the agent asked before there was a server" "$(on two 'cat /boot/firmware/ceil-firstboot.log')" " waiting "
# The console has what a cut kept from the card.
begins() { # NODE STEP
  grep -c "ceil-first-boot: $2 begin" "$CEIL_BOOT_DIR/$1.log"
}
for cut in "one images" "one cluster" "one addons" "two cluster"; do
  is "F252 how often $cut began: $(begins $cut)" "$([ "$(begins $cut)" -ge 2 ] && echo "not once")" "not once"
done
END

# --- Scenarios --------------------------------------------------------------------------------------------------------

run_node() {
  cd "$work/rig"
  "$program" build one --file node.yaml --out "$work/node-out" --format none --verify
  "$program" boot one --file node.yaml --dir "$work/node" --until ready --timeout 20m --keep -- timeout "$patience" bash "$work/node.sh"
  echo "e2e: the same card again"
  "$program" boot one --file node.yaml --dir "$work/node" --resume --until ready --timeout 20m -- timeout "$patience" bash "$work/node.sh"
  echo "e2e: the base without our units, twice"
  for way in --keep --resume; do
    "$program" boot bare --file node.yaml --dir "$work/bare" "$way" --until login --timeout 20m -- timeout "$patience" bash "$work/bare.sh"
  done
}

run_hypriot() {
  cd "$work/rig"
  "$program" build one --file hypriot.yaml --out "$work/hypriot-out" --format none --verify
  "$program" boot one --file hypriot.yaml --dir "$work/hypriot" --until ready --timeout 20m -- timeout "$patience" bash "$work/node.sh"
}

run_cluster() {
  cd "$work/rig"
  "$program" boot --all --file cluster.yaml --dir "$work/cluster" --timeout "$patience" \
    -- timeout "$patience" bash -c "bash '$work/cluster.sh' && bash '$work/reset.sh'"
}

run_faults() {
  cd "$work/rig"
  "$program" boot --all --file cluster.yaml --dir "$work/faults" --timeout "$patience" \
    --fault late=one:60 --fault power-cut@one:images --fault power-cut@one:cluster --fault power-cut@two:cluster \
    --fault power-cut@one:addons --fault reboot@one:420 --fault clock=2026-01-15T03:00:00 -- timeout "$patience" bash "$work/faults.sh"
}

run_k3s() {
  cd "$work/rig"
  "$program" boot --all --file k3s.yaml --dir "$work/k3s" --timeout "$patience" --fault late=one:60 \
    -- timeout "$patience" bash "$work/k3s.sh"
}

run_router() {
  cd "$work/rig"
  # The images that are booted are those whose digests `build` prints.
  "$program" build --all --file router.yaml --format none
  "$program" export wireguard --file router.yaml --out "$work/clients"
  "$program" export known-hosts --file router.yaml >"$work/known_hosts"
  "$program" boot --all --file router.yaml --dir "$work/router" --timeout "$patience" \
    --forward gate:22 --forward gate:53 --forward gate:2049 --forward gate:5000 --forward gate:5001 \
    -- timeout "$patience" bash "$work/router.sh"
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
  local told=$work/spoiled.json
  "$program" boot --all --file spoiled.yaml --dir "$work/spoiled" --until ready --timeout "$patience" --json \
    >"$told" 2>"$work/spoiled.log" &
  local boot=$! code=0
  says() { # NODE PART
    grep "\"node\":\"$1\"" "$told" | grep -F '"state":"failed"' | grep -qF "$2"
  }
  while kill -0 "$boot" 2>/dev/null; do
    if says memory "the kernel has no memory cgroup: cmdline.txt lacks cgroup_enable=memory" &&
      says token "the server does not know the token of this card" &&
      says authority "the server's authority is not the one of this card"; then
      break
    fi
    sleep 2
  done
  kill -INT "$boot" 2>/dev/null || true
  wait "$boot" || code=$?
  for node in memory token authority; do
    grep "\"node\":\"$node\"" "$told" | grep -F '"state":"failed"' | sed "s/^/$node: /"
  done
  says memory "the kernel has no memory cgroup: cmdline.txt lacks cgroup_enable=memory"
  echo "ok    P03, F025 an image without a memory cgroup says so"
  says token "the server does not know the token of this card"
  echo "ok    F109 an image with another token says so"
  says authority "the server's authority is not the one of this card"
  echo "ok    F108 an image with another authority says so"
  [ "$code" != 0 ] || { echo "e2e: three nodes that never got there, and boot is content" >&2; exit 1; }
  echo "ok    boot fails: $(tail -n 1 "$work/spoiled.log")"
}

for scenario in "${scenarios[@]}"; do
  echo "=== e2e: $scenario"
  "run_$scenario"
done
echo "e2e: ok"
