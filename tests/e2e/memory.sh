#!/bin/bash
# A pod takes more memory than its node has to give.
# shellcheck source=tests/e2e/ask.sh
. "$E2E_ASK/ask.sh"
has "F127 what the kubelet keeps" "$(kubectl get --raw /api/v1/nodes/two/proxy/configz)" '"memory.available":"100Mi"'
allocatable=$(kubectl get node two -o 'jsonpath={.status.allocatable.memory}')
# More than pods may have, and less than at which the kernel kills. A volume in memory holds half of it at most.
half=$(((${allocatable%Ki} + 40960) / 2))
# In a file, since what a pipe gave is gone at the second try.
cat >"$E2E_WORK/hog.yaml" <<END
apiVersion: v1
kind: Pod
metadata: {name: hog}
spec:
  nodeName: two
  restartPolicy: Never
  containers:
    - name: hog
      image: example.test/busybox:1
      imagePullPolicy: Never
      command: [sh, -c, "for d in one two; do busybox head -c ${half}k /dev/zero >/memory/\$d/much; done; exec sleep 1000000"]
      volumeMounts: [{name: one, mountPath: /memory/one}, {name: two, mountPath: /memory/two}]
  volumes: [{name: one, emptyDir: {medium: Memory}}, {name: two, emptyDir: {medium: Memory}}]
END
kubectl apply -f "$E2E_WORK/hog.yaml"
ready() { kubectl get node two -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'; }
until [ "$(kubectl get pod hog -o 'jsonpath={.status.phase}')" = Failed ]; do
  is "F127, P43 the node beside a pod that takes all memory" "$(ready)" True
  sleep 10
done
# By the event, as kubelets before 1.22 may send an older state of the pod after the one that has the reason.
evicted=$(kubectl get events --field-selector involvedObject.name=hog,reason=Evicted -o 'jsonpath={.items[*].message}')
has "F127 the pod is evicted" "$evicted" "Container hog was using"
is "F127, P43 the node after it" "$(ready)" True
is "P43 processes of the node that were killed" "$(on two 'sudo journalctl -k -b --no-pager | grep -c "Killed process.*\(kubelet\|containerd\|sshd\))"')" 0
kubectl delete pod hog
