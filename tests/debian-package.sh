#!/bin/bash
# Fetches packages of Debian for a suite and a processor, whatever this system is; nothing is installed.
#
# usage: tests/debian-package.sh PACKAGE SUITE ARCH DIR
#        tests/debian-package.sh --for STATUS SUITE ARCH DIR PACKAGE...
#
# The first form unpacks one package. The second keeps packages as files, with everything that they need beyond the
# packages of a system with this file `/var/lib/dpkg/status`. apt checks the signatures. DIR appears when it is complete;
# its parent is made. Needs apt and Debian's keyring (package debian-archive-keyring).
set -euo pipefail

usage() {
  sed -n 's/^# usage: /usage: /p; s/^#        tests/       tests/p' "$0" >&2
  exit 2
}
status=/dev/null
if [ "${1:-}" = --for ]; then
  [ $# -ge 6 ] || usage
  status=$(realpath "$2") suite=$3 arch=$4 dir=$5
  shift 5
else
  [ $# = 4 ] || usage
  suite=$2 arch=$3 dir=$4
fi
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
for need in apt-get dpkg-deb "$keyring"; do
  command -v "$need" >/dev/null || [ -e "$need" ] || {
    echo "$0: $need is missing" >&2
    exit 1
  }
done
mkdir -p "$(dirname "$dir")"
work=$(mktemp -d "$(realpath "$(dirname "$dir")")/.apt.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists,cache/archives}/partial
echo "deb [arch=$arch signed-by=$keyring] http://deb.debian.org/debian $suite main" >"$work/sources.list"
apt=(
  apt-get -q -o "APT::Architecture=$arch" -o "APT::Architectures=$arch"
  -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=-
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o "Dir::State::status=$status"
  -o APT::Sandbox::User=
)
"${apt[@]}" update >&2
if [ "$status" = /dev/null ]; then
  (cd "$work" && "${apt[@]}" download "$1" >&2)
  dpkg-deb -x "$work/$1"_*.deb "$work/made"
else
  "${apt[@]}" install --yes --download-only --no-install-recommends "$@" >&2
  mkdir "$work/made"
  mv "$work"/cache/archives/*.deb "$work/made"
fi
rm -rf "${dir:?}"
mv "$work/made" "$dir"
