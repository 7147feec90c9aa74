#!/bin/bash
# Server and agent of k3s, or of its stand-in.
# shellcheck source=tests/e2e/ask.sh
. "$E2E_ASK/ask.sh"
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
is "F253 units that failed" "$(failed_units one; failed_units two)" "0
0"
is "F253 markers" "$(on one 'ls /var/lib/ceil/ready'; on two 'ls /var/lib/ceil/ready')" "/var/lib/ceil/ready
/var/lib/ceil/ready"
if [ -n "${CEIL_K3S:-}" ]; then
  kubectl get nodes -o wide
  for node in one two; do
    is "F100, F101 node $node" "$(kubectl get node $node -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" True
  done
  is "F120 label" "$(kubectl get node two -o 'jsonpath={.metadata.labels.example\.test/disk}')" slow
  bash "$E2E_ASK/pods.sh"
else
  has "F101, F110 the agent waited for its server" "$(on two 'sudo journalctl -b --no-pager -u k3s-agent')" "does not answer yet"
fi
