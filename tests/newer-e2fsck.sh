#!/bin/bash
# Fetches a newer e2fsck than this system's, as a second judge, and prints where it is.
#
# usage: tests/newer-e2fsck.sh DIR [SUITE]
#
# It is Debian's own statically linked build from SUITE (trixie), checked by apt's signatures and unpacked into DIR;
# nothing is installed. Tests take it from the environment:
#
#   CEIL_E2FSCK=$(tests/newer-e2fsck.sh target/e2fsck) cargo test --lib fs::ext4
#
# Needs apt and Debian's keyring (package debian-archive-keyring).
set -euo pipefail

[ $# -ge 1 ] || {
  echo "usage: $0 DIR [SUITE]" >&2
  exit 2
}
mkdir -p "$1"
dir=$(realpath "$1")
suite=${2:-trixie}
program=$dir/$suite/usr/sbin/e2fsck.static

[ -x "$program" ] ||
  "$(dirname "$0")/debian-package.sh" e2fsck-static "$suite" "$(dpkg --print-architecture)" "$dir/$suite"
"$program" -V >&2
echo "$program"
