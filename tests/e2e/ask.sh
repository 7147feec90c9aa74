# Questions to nodes, for scripts that run as the command of `ceil-img boot`, with KUBECONFIG, CEIL_SSH_CONFIG and
# CEIL_BOOT_DIR set, E2E_WORK the folder of the run and E2E_ASK this one.
# shellcheck shell=bash
set -euo pipefail
on() { # NODE COMMAND
  ssh -n -i "$E2E_WORK/rig/id_ed25519" -o BatchMode=yes -F "$CEIL_SSH_CONFIG" "$1" "$2"
}
# A server with much to do answers the second time.
kubectl() {
  local try
  for try in 1 2 3 4 5 6; do
    if command kubectl "$@"; then return 0; fi
    case $1 in get | apply) [ "$try" = 6 ] || sleep 10 ;; *) break ;; esac
  done
  return 1
}
is() { # WHAT FOUND EXPECTED
  if [ "$2" = "$3" ]; then echo "ok    $1: $2"; else
    echo "WRONG $1: $2, not $3"
    exit 1
  fi
}
has() { # WHAT TEXT PART
  case $2 in
  *"$3"*) echo "ok    $1: $3" ;;
  *)
    echo "WRONG $1 has no $3: $2"
    exit 1
    ;;
  esac
}
failed_units() { # NODE: how many
  on "$1" 'systemctl list-units --state=failed --no-legend | wc -l'
}
cloud_init_errors() { # NODE: how many
  on "$1" 'sudo python3 -c "import json; print(len(json.load(open(\"/run/cloud-init/result.json\"))[\"v1\"][\"errors\"]))"'
}
# What comes back from the forwarded port of a node: `answers`, or `silent` where nothing does.
answer() { # NODE lan|uplink PORT
  python3 - "$(awk -v node="$1" -v side="$2" -v port="$3/tcp" '$1 == node && $2 == side && $3 == port { print $4 }' "$CEIL_BOOT_DIR/ports")" <<'PY'
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
s.settimeout(8)
try:
    s.sendall(b"GET /v2/ HTTP/1.0\r\n\r\n")
    print("answers" if s.recv(16) else "silent")
except OSError:
    print("silent")
PY
}
# `systemd-analyze blame` on stdin as milliseconds and unit.
blame_ms() {
  awk '{
    t = 0
    for (i = 1; i < NF; i++) t += $i * ($i ~ /ms$/ ? 1 : $i ~ /min$/ ? 60000 : 1000)
    printf "%.0f %s\n", t, $NF
  }'
}
# What our units took of a later boot, by `systemd-analyze blame` on stdin.
ours_are_quick() {
  local ms
  ms=$(blame_ms | awk '/ceil-/ { t += $1 } END { print int(t) }')
  is "units of ours in a later boot, $ms ms of less than 2000" "$([ "$ms" -lt 2000 ] && echo yes)" yes
}
