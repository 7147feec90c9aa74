#!/bin/bash
# A node that has done its first boot, and the same card after `ceil-img reconfigure` with another profile.
# shellcheck source=tests/e2e/ask.sh
. "$E2E_ASK/ask.sh"
fat=$(on calm 'findmnt -n -o TARGET -t vfat')
instances=$(on calm 'sudo ls /var/lib/cloud/instances')
has "P02 instances that cloud-init knows" "$instances" "$(on calm "sudo sed -n 's/^instance[-_]id: *//p' $fat/meta-data | tr -d '\"'")"
if [ "$1" = first ]; then
  is "P02 instances" "$(wc -l <<<"$instances")" 1
  is "P02 an account of the other profile" "$(on calm 'id second >/dev/null 2>&1 && echo there || echo none')" none
else
  is "P02 instances" "$(wc -l <<<"$instances")" 2
  is "P02 an account of the other profile" "$(on calm 'id second >/dev/null 2>&1 && echo there || echo none')" there
  is "P02 cloud-init's errors" "$(cloud_init_errors calm)" 0
fi
on calm sync
