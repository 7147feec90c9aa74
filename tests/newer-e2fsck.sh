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

if ! [ -x "$program" ]; then
  keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  for need in apt-get dpkg-deb "$keyring"; do
    command -v "$need" >/dev/null || [ -e "$need" ] || {
      echo "$0: $need is missing" >&2
      exit 1
    }
  done
  work=$(mktemp -d "$dir/.apt.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work"/{lists,cache/archives}/partial
  echo "deb [signed-by=$keyring] http://deb.debian.org/debian $suite main" >"$work/sources.list"
  apt=(
    apt-get -q
    -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=-
    -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o Dir::State::status=/dev/null
    -o APT::Sandbox::User=
  )
  "${apt[@]}" update >&2
  (cd "$work" && "${apt[@]}" download e2fsck-static >&2)
  dpkg-deb -x "$work"/e2fsck-static_*.deb "$work/unpacked"
  rm -rf "${dir:?}/$suite"
  mv "$work/unpacked" "$dir/$suite"
fi
"$program" -V >&2
echo "$program"
