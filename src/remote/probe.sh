#!/bin/sh
# What a node says of itself, as key=value lines. `ceil-img status` feeds it to `sh -s` over ssh, so it must do with what
# a minimal system has and with the rights of an ordinary account.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
state=/var/lib/ceil

# The folder may be for root alone.
look() {
  if [ -d "$state" ] && [ ! -x "$state" ]; then
    sudo -n "$@" 2>/dev/null </dev/null
  else
    "$@" 2>/dev/null </dev/null
  fi
}

# An address of this machine alone, within three seconds.
get() {
  if command -v curl >/dev/null; then
    curl -s -m 3 --noproxy '*' "$1" </dev/null
  elif command -v wget >/dev/null; then
    wget -q -O - -T 3 -Y off "$1" 2>/dev/null </dev/null
  else
    echo unknown
  fi
}

# A greeting of the account's shell may stand before this line.
echo probe=1
echo "hostname=$(cat /proc/sys/kernel/hostname)"

if look test -e "$state/ready"; then
  echo ready=yes
elif [ -d "$state" ]; then
  echo ready=no
fi
look ls -1tr "$state/done" | sed 's/^/done=/'
look ls -1tr "$state/failed" | while read -r step; do
  echo "failed=$step: $(look head -n 1 "$state/failed/$step")"
done
if command -v systemctl >/dev/null; then
  systemctl list-units --plain --no-legend --state=activating 'ceil-*.service' 2>/dev/null |
    sed -n 's/^ *ceil-\([^ ]*\)\.service .*/step=\1/p'
fi

if [ -x /usr/local/bin/k3s ]; then
  echo "version=$(/usr/local/bin/k3s --version 2>/dev/null </dev/null | head -n 1)"
elif [ -x /usr/local/bin/kubelet ]; then
  echo "version=$(/usr/local/bin/kubelet --version 2>/dev/null </dev/null | head -n 1)"
fi
if [ -x /usr/local/bin/k3s ] || [ -x /usr/local/bin/kubelet ]; then
  health=$(get http://127.0.0.1:10248/healthz | head -n 1)
  echo "kubelet=${health:-no answer}"
fi

if command -v vcgencmd >/dev/null; then
  power=$(vcgencmd get_throttled 2>/dev/null || sudo -n vcgencmd get_throttled 2>/dev/null)
else
  power=$(cat /sys/devices/platform/soc/soc:firmware/get_throttled 2>/dev/null)
fi
echo "throttled=$power"
echo "uptime=$(cut -d . -f 1 /proc/uptime)"
