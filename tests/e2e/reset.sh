#!/bin/bash
# shellcheck source=tests/e2e/ask.sh
. "$E2E_ASK/ask.sh"
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
