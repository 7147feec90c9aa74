#!/bin/bash
# The add-on's pods, which reach each other.
# shellcheck source=tests/e2e/ask.sh
. "$E2E_ASK/ask.sh"
pods=()
for node in one two; do
  until pod=$(kubectl get pods -l app=smoke --field-selector "spec.nodeName=$node,status.phase=Running" \
    -o 'jsonpath={range .items[*]}{.metadata.name} {.status.podIP}{end}') && [ -n "$pod" ]; do sleep 5; done
  echo "ok    F190 the add-on's pod on $node: $pod"
  pods+=("$pod")
done
read -r -a server <<<"${pods[0]}"
read -r -a agent <<<"${pods[1]}"
is "F113 a pod on two reaches one's" "$(kubectl exec "${agent[0]}" -- wget -q -O - "http://${server[1]}:8080")" "${server[0]}"
is "F113 a pod on one reaches two's" "$(kubectl exec "${server[0]}" -- wget -q -O - "http://${agent[1]}:8080")" "${agent[0]}"
