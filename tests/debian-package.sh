#!/bin/bash
# Fetches a package of Debian for a suite and a processor, whatever this system is, and unpacks it; nothing is installed.
#
# usage: tests/debian-package.sh PACKAGE SUITE ARCH DIR
#
# apt checks the signatures. DIR appears when it is complete; its parent is made. Needs apt and Debian's keyring (package
# debian-archive-keyring).
set -euo pipefail

[ $# = 4 ] || {
  echo "usage: $0 PACKAGE SUITE ARCH DIR" >&2
  exit 2
}
package=$1 suite=$2 arch=$3 dir=$4
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
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o Dir::State::status=/dev/null
  -o APT::Sandbox::User=
)
"${apt[@]}" update >&2
(cd "$work" && "${apt[@]}" download "$package" >&2)
dpkg-deb -x "$work/$package"_*.deb "$work/unpacked"
rm -rf "${dir:?}"
mv "$work/unpacked" "$dir"
