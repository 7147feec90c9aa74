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
    case $1 in get) [ "$try" = 6 ] || sleep 10 ;; *) break ;; esac
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
# Milliseconds that our units took, by `systemd-analyze blame`.
spent() {
  awk '/ceil-/ {
    for (i = 1; i < NF; i++) t += $i * ($i ~ /ms$/ ? 1 : $i ~ /min$/ ? 60000 : 1000)
  } END { print int(t) }'
}
