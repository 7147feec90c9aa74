#!/bin/bash
# Server and agent to which misfortunes came.
bash "$E2E_ASK/cluster.sh"
# shellcheck source=tests/e2e/ask.sh
. "$E2E_ASK/ask.sh"
has "F110, P29 the agent asked before there was a server" "$(on two 'cat /boot/firmware/ceil-firstboot.log')" " waiting "
# The console has what a cut kept from the card.
begins() { # NODE STEP
  grep -c "ceil-first-boot: $2 begin" "$CEIL_BOOT_DIR/$1.log"
}
while read -r node step; do
  is "F252 how often $node began $step: $(begins "$node" "$step")" \
    "$([ "$(begins "$node" "$step")" -ge 2 ] && echo "not once")" "not once"
done <<<"one images
one cluster
one addons
two cluster"
