#!/bin/bash
# A pod takes more memory than its node has to give.
# shellcheck source=tests/e2e/ask.sh
. "$E2E_ASK/ask.sh"
has "F127 what the kubelet keeps" "$(kubectl get --raw /api/v1/nodes/two/proxy/configz)" '"memory.available":"100Mi"'
allocatable=$(kubectl get node two -o 'jsonpath={.status.allocatable.memory}')
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
      # Most of what pods may have, which stays below what kills by itself.
      command: [sh, -c, "busybox head -c $((${allocatable%Ki} - 40960))k /dev/zero >/memory/much; exec sleep 1000000"]
      volumeMounts: [{name: memory, mountPath: /memory}]
  volumes: [{name: memory, emptyDir: {medium: Memory}}]
END
kubectl apply -f "$E2E_WORK/hog.yaml"
ready() { kubectl get node two -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'; }
until [ "$(kubectl get pod hog -o 'jsonpath={.status.phase}')" = Failed ]; do
  is "F127, P43 the node beside a pod that takes all memory" "$(ready)" True
  sleep 10
done
is "F127 what became of the pod" "$(kubectl get pod hog -o 'jsonpath={.status.reason}')" Evicted
is "F127, P43 the node after it" "$(ready)" True
is "P43 processes of the node that were killed" "$(on two 'sudo journalctl -k -b --no-pager | grep -c "Killed process.*\(kubelet\|containerd\|sshd\))"')" 0
kubectl delete pod hog
