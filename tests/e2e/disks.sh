#!/bin/bash
# A node whose services have their data on a disk; at the second boot the two disks have changed places.
# shellcheck source=tests/e2e/ask.sh
. "$E2E_ASK/ask.sh"
boot=${1:-first}
case $boot in first) order="sda 0001 sdb 0002 " ;; *) order="sda 0002 sdb 0001 " ;; esac
is "P33 the order of the disks at the $boot boot" \
  "$(on store 'lsblk -d -n -o NAME,SERIAL /dev/sda /dev/sdb' | tr -s ' \n' ' ')" "$order"
of() { on store "lsblk -n -o LABEL,SERIAL \$(findmnt -n -o SOURCE $1)" | tr -s ' '; }
is "F088, F089 the disk that was wiped with consent" "$(of /srv/data)" "ceil-data 0001"
is "F088, P33 the one with data" "$(of /srv/old)" "old 0002"
is "P33, P34 what it had" "$(on store 'cat /srv/old/kept')" "kept"
is "F253 units that failed" "$(failed_units store; failed_units peer)" "0
0"
has "F072 compressed memory" "$(on store 'sudo zramctl --bytes --noheadings --output NAME,DISKSIZE')" "/dev/zram0 134217728"
has "F072 swap" "$(on store 'sudo swapon --noheadings --show=NAME,PRIO' | tr -s " ")" "/dev/zram0 100"
# A resolver that has multicast DNS, without a server or a file that knows the name.
on peer 'sudo mkdir -p /etc/systemd/resolved.conf.d
  printf "[Resolve]\nMulticastDNS=yes\n" | sudo tee /etc/systemd/resolved.conf.d/mdns.conf >/dev/null
  sudo systemctl restart systemd-resolved
  sudo resolvectl mdns eth0 yes'
has "F059 a name in .local" "$(on peer 'resolvectl query --protocol=mdns-ipv4 --legend=no store.local')" 10.11.0.101

pinned=$(dpkg-deb --field "$E2E_WORK"/rig/debs/peer/docker.io_*.deb Version)
is "F082 docker" "$(on peer 'sudo curl -s --unix-socket /run/docker.sock http://localhost/version' |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["Version"])')" "${pinned%-*}"
has "F082 its pin" "$(on peer 'apt-cache policy docker.io')" "$pinned 1001"

# Registry.
on peer 'cat >blob.py <<END
import hashlib, sys
from urllib.request import Request, urlopen
base = "http://store.rig.home.arpa:5001/v2/some/thing/blobs/"
data = b"layer" * 1000
digest = "sha256:" + hashlib.sha256(data).hexdigest()
if sys.argv[1] == "first":
    place = urlopen(Request(base + "uploads/", method="POST")).headers["Location"]
    place += ("&" if "?" in place else "?") + "digest=" + digest
    urlopen(Request(place, data, {"Content-Type": "application/octet-stream"}, method="PUT"))
print(urlopen(base + digest).read() == data)
END
true'
is "F154, F155 a layer, pushed at the first boot" "$(on peer "python3 blob.py $boot")" True
# shellcheck disable=SC2016 # expanded on the node
is "F155 where it lies" "$(on store 'sudo find / -xdev -path "*/blobs/*" -name data 2>/dev/null | wc -l; sudo findmnt -n -o TARGET -T "$(sudo find /srv/data -path "*/blobs/*" -name data | head -n 1)"' | tr '\n' ' ')" "0 /srv/data "

# Database.
on peer 'cat >greeting.py <<END
import socket
s = socket.create_connection(("store.rig.home.arpa", 3306), 10)
print("MariaDB" if b"MariaDB" in s.recv(200) else "silent")
END
true'
until on store 'sudo test ! -e /etc/ceil/mariadb-init.sql'; do sleep 3; done
is "F180 the database, asked by a node" "$(on peer 'python3 greeting.py')" MariaDB
is "F180 the database, asked by another" "$(answer store lan 3306)" silent
is "F180 its databases" "$(on store "sudo mariadb -N -e 'show databases like \"shop\"'")" shop
is "F180 where its data are" "$(on store 'sudo findmnt -n -o TARGET -T /srv/data/mysql/ibdata1; sudo mariadb -N -e "select @@datadir"' | tr '\n' ' ')" "/srv/data /srv/data/mysql/ "
if [ "$boot" = first ]; then
  on store 'sudo mariadb shop -e "create table t (n int); insert into t values (42)"'
else
  is "F180 a row of the first boot" "$(on store 'sudo mariadb -N shop -e "select n from t"')" 42
fi
on store sync
on peer sync
