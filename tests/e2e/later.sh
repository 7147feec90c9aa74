#!/bin/bash
# An agent that came two days after its server, with a token that does not end.
# shellcheck source=tests/e2e/ask.sh
. "$E2E_ASK/ask.sh"
kubectl get nodes -o wide
for node in one two; do
  is "F109, P23 node $node" "$(kubectl get node $node -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" True
done
# By the API's own clock, more than a day lies between them.
born() { date -d "$(kubectl get node "$1" -o 'jsonpath={.metadata.creationTimestamp}')" +%s; }
is "F109, P23 hours between them" "$((($(born two) - $(born one)) / 3600))" 48
