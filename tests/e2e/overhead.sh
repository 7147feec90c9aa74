#!/bin/bash
# How long a later boot takes: `calm` has what the first boot left of us, `bare` is the base with nothing of ours but an
# account.
# shellcheck source=tests/e2e/ask.sh
. "$E2E_ASK/ask.sh"
node=$1
turn=$2
until on "$node" true 2>/dev/null; do sleep 2; done
on "$node" 'cloud-init status --wait >/dev/null; systemctl is-system-running --wait' || true
ours=$(on "$node" 'systemctl list-unit-files --no-legend | grep -c ^ceil- || true')
if [ "$node" = bare ]; then
  is "units of ours on the bare base" "$ours" 0
else
  has "units of ours" "$(on "$node" 'systemctl show ceil-first-boot.target --property ActiveState')" active
fi
# The first boot is what takes its time.
if [ "$turn" = --resume ]; then
  on "$node" 'systemd-analyze blame --no-pager' >"$E2E_WORK/blame-$node"
  printf '%-5s %s\n' "$node" "$(on "$node" 'systemd-analyze time | tail -n 1')" | tee -a "$E2E_WORK/overhead"
  if [ "$node" = calm ]; then
    ours_are_quick <"$E2E_WORK/blame-calm"
  else
    echo "e2e: the units that differ most, in ms: difference, calm, bare"
    awk 'NR == FNR { bare[$2] = $1; next } { print $1 - bare[$2], $1, bare[$2] + 0, $2 }' \
      <(blame_ms <"$E2E_WORK/blame-bare") <(blame_ms <"$E2E_WORK/blame-calm") | sort -rn | sed -n 1,12p
  fi
fi
# What sshd made for itself is to outlive the end of this run, which is a power cut.
on "$node" sync
