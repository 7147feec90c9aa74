#!/bin/bash
# Server and agent of kubeadm.
# shellcheck source=tests/e2e/ask.sh
. "$E2E_ASK/ask.sh"
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
bash "$E2E_ASK/pods.sh"
is "F117, P62 kubeconfig of the administrator" "$(on one 'kubectl get --raw /readyz; stat -c %a ~/.kube/config' | tr "\n" " ")" "ok600 "
is "P28 units that failed on two" "$(failed_units two)" 0
has "F079 what the cluster waits for" "$(on one 'systemctl show ceil-cluster --property After')" ceil-time.service
is "P01, F062 machine ids" "$( (on one 'cat /etc/machine-id'; on two 'cat /etc/machine-id') | sort -u | wc -l)" 2
pulls=$(kubectl get events --all-namespaces -o 'jsonpath={range .items[?(@.reason=="Pulling")]}{.message}{"\n"}{end}')
is "F106, P58 images from elsewhere" "$pulls" ""
kubectl run amd64 --image=example.test/busybox:1 --image-pull-policy=Never --restart=Never \
  --overrides='{"spec": {"nodeSelector": {"kubernetes.io/arch": "amd64"}, "tolerations": [{"operator": "Exists"}]}}' \
  --command -- sleep 1000000
until kubectl get events --field-selector involvedObject.name=amd64 -o 'jsonpath={.items[*].reason}' | grep -q FailedScheduling; do sleep 3; done
is "F219 the node of a pod for another processor" "$(kubectl get pod amd64 -o 'jsonpath={.spec.nodeName}')" ""
for node in one two; do
  echo "--- ceil-firstboot.log of $node"
  on "$node" 'cat /boot/firmware/ceil-firstboot.log'
done
