#!/bin/bash
# A router and those behind it.
# shellcheck source=tests/e2e/ask.sh
. "$E2E_ASK/ask.sh"
admin=(ssh -i "$E2E_WORK/rig/id_ed25519" -o BatchMode=yes -F "$CEIL_SSH_CONFIG")
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
is "F253 units that failed on gate" "$(failed_units gate)" 0

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
before=$(counted dropped-in)
is "F148 SSH from the uplink" "$(answer gate uplink 22)" answers
for closed in 5000 5001 2049 53; do is "F148 port $closed from the uplink" "$(answer gate uplink $closed)" silent; done
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
classes=$(kubectl get storageclass -o 'jsonpath={range .items[?(@.metadata.annotations.storageclass\.kubernetes\.io/is-default-class=="true")]}{.metadata.name} {.reclaimPolicy}{"\n"}{end}')
is "F171, P51 the classes that are the default" "$classes" "local-path Retain"
is "F174 what two mounts" "$(on two 'findmnt -n -t nfs4 -o SOURCE | head -n 1')" 10.11.0.1:/srv/nfs
for node in gate one two; do
  echo "--- ceil-firstboot.log of $node"
  on "$node" 'cat /boot/firmware/ceil-firstboot.log'
done
