#!/bin/bash
# Boots an image in QEMU as a Raspberry Pi's firmware would start it, and says which hostname it came up with.
#
# usage: tests/boot-qemu.sh IMG [EXPECTED-HOSTNAME] [COMMAND]...
#
# Kernel, initramfs and command line come from the image's own FAT partition. The image itself stays untouched:
# the guest writes to a qcow2 overlay (or, without qemu-img, to a sparse copy). The guest has a network card, but nothing beyond it (restrict=on).
# Each COMMAND runs as root in the guest once it is up, and its output is printed. With BOOT_KEEP or BOOT_DISKS the
# guest is shut down at the end, so that what it wrote is complete.
#
# Exit code: 0 up (and named as expected), 1 not up in time or named otherwise, 2 wrong usage or missing tool.
#
#   BOOT_TIMEOUT   seconds until giving up                       (600)
#   BOOT_MEMORY    memory of the guest in MiB                    (1024)
#   BOOT_CARD      size of the card, if larger than the image    (such as 4G)
#   BOOT_RTC       what the guest's clock shows at the start     (utc; a Pi has no clock: 2025-01-01T00:00:00)
#   BOOT_LOG       where to keep the serial console's text       (removed with the working folder)
#   BOOT_MAC       address of the network card                   (dc:a6:32:00:00:01)
#   BOOT_APPEND    more arguments of the kernel                  (such as cloud-init=disabled)
#   BOOT_BARE      1: no init, no services: a shell as process 1, root read-only, the COMMANDs and an end
#   BOOT_DISKS     raw images that are further disks, /dev/vdb and so on; what the guest writes to them stays
#   BOOT_KEEP      where to keep the card as the guest left it   (a raw image)
#   BOOT_PATIENCE  seconds that each COMMAND may take            (120)
set -euo pipefail

say() { printf 'boot-qemu: %s\n' "$*" >&2; }
die() {
  say "$2"
  exit "$1"
}

[ $# -ge 1 ] || die 2 "usage: $0 IMG [EXPECTED-HOSTNAME] [COMMAND]..."
image=$1
expected=${2-}
shift $(($# < 2 ? $# : 2))
timeout=${BOOT_TIMEOUT:-600}

[ -f "$image" ] || die 2 "$image is not a file"
for tool in qemu-system-aarch64 sfdisk mtype mcopy; do
  command -v "$tool" >/dev/null || die 2 "$tool is missing (Debian: qemu-system-arm fdisk mtools)"
done
image=$(realpath "$image")

work=$(mktemp -d "${TMPDIR:-/tmp}/boot-qemu.XXXXXX")
qemu=
reader=
cleanup() {
  if [ -n "$qemu" ]; then kill "$qemu" 2>/dev/null || true; fi
  if [ -n "$reader" ]; then kill "$reader" 2>/dev/null || true; fi
  wait 2>/dev/null || true
  if [ -n "${BOOT_LOG-}" ] && [ -f "$work/console" ]; then cp "$work/console" "$BOOT_LOG"; fi
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- What the firmware would read -----------------------------------------------------------------------------

# The first partition that mtools can read holds the firmware's files.
fat=
while read -r start; do
  if mdir -i "$image@@$((start * 512))" ::config.txt >/dev/null 2>&1; then
    fat=$image@@$((start * 512))
    break
  fi
done < <(sfdisk -d "$image" 2>/dev/null | sed -n 's/.*start= *\([0-9]*\),.*/\1/p')
[ -n "$fat" ] || die 2 "$image has no FAT partition with a config.txt"

mtype -i "$fat" ::config.txt | tr -d '\r' >"$work/config.txt"

# The last value of a setting outside model sections, such as [cm4].
setting() {
  awk -v key="$1" '
    /^\[/ { on = ($0 == "[all]" || $0 == "[pi4]"); next }
    BEGIN { on = 1 }
    on && index($0, key "=") == 1 { value = substr($0, length(key) + 2) }
    END { print value }
  ' "$work/config.txt"
}

prefix=$(setting os_prefix)
kernel=$(setting kernel)
cmdline_name=$(setting cmdline)
initramfs=$(awk '$1 == "initramfs" { name = $2 } END { print name }' "$work/config.txt")
if [ -z "$initramfs" ] && [ "$(setting auto_initramfs)" = 1 ]; then initramfs=initramfs8; fi

mcopy -n -i "$fat" "::$prefix${kernel:-kernel8.img}" "$work/kernel" || die 1 "the image has no ${kernel:-kernel8.img}"
arguments=(-kernel "$work/kernel")
if [ -n "$initramfs" ]; then
  mcopy -n -i "$fat" "::$prefix$initramfs" "$work/initramfs" || die 1 "the image has no $initramfs"
  arguments+=(-initrd "$work/initramfs")
fi

cmdline=$(mtype -i "$fat" "::$prefix${cmdline_name:-cmdline.txt}" | tr -d '\r' | sed -n 1p)
cmdline=${cmdline//console=serial0/console=ttyAMA0}
# The Pi's firmware disables the memory cgroup, and the Pi's kernel takes that back on `cgroup_enable=memory`.
# Other kernels know only the former, so it is left out exactly when the command line asks for the cgroup:
# otherwise a missing argument would go unnoticed here.
case " $cmdline " in
*" cgroup_enable=memory "*) ;;
*) cmdline="cgroup_disable=memory $cmdline" ;;
esac
say "kernel command line: $cmdline"

# --- The machine ----------------------------------------------------------------------------------------------

if [ -n "${BOOT_KEEP-}" ]; then
  card=$BOOT_KEEP format=raw
  cp --sparse=always "$image" "$card"
  chmod u+w "$card"
  if [ -n "${BOOT_CARD-}" ]; then truncate -s "$BOOT_CARD" "$card"; fi
elif command -v qemu-img >/dev/null; then
  card=$work/card.qcow2 format=qcow2
  qemu-img create -q -f qcow2 -b "$image" -F raw "$card"
  if [ -n "${BOOT_CARD-}" ]; then qemu-img resize -q "$card" "$BOOT_CARD"; fi
else
  card=$work/card.img format=raw
  cp --sparse=always "$image" "$card"
  if [ -n "${BOOT_CARD-}" ]; then truncate -s "$BOOT_CARD" "$card"; fi
fi

# Process 1 says when it listens: what is written to a serial port before is lost.
arguments+=(-append "$cmdline ${BOOT_APPEND-} $(
  if [ "${BOOT_BARE-}" = 1 ]; then
    # shellcheck disable=SC2016
    printf '%s' 'init=/bin/sh -- -c "exec </dev/ttyS0 >/dev/ttyS0 2>&1; echo; echo shell is up; exec /bin/sh"'
  else
    printf '%s' systemd.debug_shell=ttyS0
  fi
)")

disks=()
read -ra extra <<<"${BOOT_DISKS-}"
for disk in ${extra[@]+"${extra[@]}"}; do
  [ -w "$disk" ] || die 2 "$disk cannot be written"
  name=e${#disks[@]}
  disks+=(-drive "if=none,id=$name,format=raw,file=$(realpath "$disk"),discard=unmap,detect-zeroes=unmap"
    -device "virtio-blk-pci,drive=$name")
done

# A root shell without login on the second serial port, spoken to through two named pipes.
mkfifo "$work/shell.in" "$work/shell.out"
: >"$work/console"

nice -n 19 qemu-system-aarch64 -M virt -cpu cortex-a72 -smp 2 -m "${BOOT_MEMORY:-1024}" \
  -nodefaults -display none -no-reboot -rtc "base=${BOOT_RTC:-utc}" \
  "${arguments[@]}" \
  -drive "if=none,id=d0,format=$format,file=$card" -device virtio-blk-pci,drive=d0 \
  ${disks[@]+"${disks[@]}"} \
  -device virtio-rng-pci \
  -netdev user,id=n0,restrict=on -device "virtio-net-pci,netdev=n0,romfile=,mac=${BOOT_MAC:-dc:a6:32:00:00:01}" \
  -serial "file:$work/console" \
  -chardev "pipe,id=shell,path=$work/shell" -device pci-serial,chardev=shell &
qemu=$!
cat "$work/shell.out" >"$work/shell.log" &
reader=$!
exec 3>"$work/shell.in"

# --- Waiting ----------------------------------------------------------------------------------------------------

alive() {
  kill -0 "$qemu" 2>/dev/null || {
    tail -n 20 "$work/console" >&2
    die 1 "the machine stopped after ${SECONDS} s"
  }
  if ((SECONDS >= timeout)); then
    tail -n 20 "$work/console" >&2
    die 1 "not up after $timeout s"
  fi
}

# The name in the last login prompt of the console, empty before there is one.
prompt() {
  tr -d '\r\033' <"$work/console" | sed -n 's/^\(\[[0-9;]*[A-Za-z]\)*\([A-Za-z0-9.-]\{1,\}\) login: *.*/\2/p' | tail -n 1
}

# Runs a command in the guest and prints what it printed. The marks are put together by the guest, so that the
# echo of the typed line is not taken for them.
ask() {
  local mark=$1 limit=$2 command=$3 end
  end=$((SECONDS + limit))
  printf "printf '\\\\n<<%%s>>\\\\n' %s; %s; printf '\\\\n<</%%s>>\\\\n' %s\n" "$mark" "$command" "$mark" >&3
  until grep -aq "^<</$mark>>" "$work/shell.log"; do
    alive
    ((SECONDS < end)) || return 1
    sleep 1
  done
  tr -d '\r' <"$work/shell.log" | sed -n "/^<<$mark>>/,/^<<\\/$mark>>/p" | sed '1d;$d' | sed '/^$/d'
}

if [ "${BOOT_BARE-}" = 1 ]; then
  until grep -aq '^shell is up' "$work/shell.log"; do
    alive
    sleep 1
  done
  say "a shell after ${SECONDS} s"
  found=
else
  until [ -n "$(prompt)" ]; do
    alive
    sleep 1
  done
  say "login prompt of $(prompt) after ${SECONDS} s"

  # cloud-init goes on behind the prompt; without cloud-init this returns at once.
  found=$(ask name $((timeout - SECONDS)) 'cloud-init status --wait >/dev/null 2>&1; hostname' | tail -n 1) || found=
  if [ -n "$found" ]; then
    say "first boot done after ${SECONDS} s"
  else
    say "no answer on the debug shell: taking the name from the login prompt"
    found=$(prompt)
  fi
  printf '%s\n' "$found"
fi

number=0
for command in "$@"; do
  number=$((number + 1))
  ask "command$number" "${BOOT_PATIENCE:-120}" "$command" || die 1 "no answer to: $command"
done

if [ -n "${BOOT_KEEP-}${BOOT_DISKS-}" ]; then
  if [ "${BOOT_BARE-}" = 1 ]; then
    printf 'sync; echo o >/proc/sysrq-trigger\n' >&3
  else
    printf 'systemctl poweroff\n' >&3
  fi
  end=$((SECONDS + 120))
  while kill -0 "$qemu" 2>/dev/null; do
    ((SECONDS < end)) || die 1 "the guest does not shut down"
    sleep 1
  done
  qemu=
  say "shut down after ${SECONDS} s"
fi

if [ -n "$expected" ] && [ "$found" != "$expected" ]; then
  die 1 "the hostname is $found, not $expected"
fi
