#!/bin/bash
# One node without Kubernetes, at its first boot and at a later one.
# shellcheck source=tests/e2e/ask.sh
. "$E2E_ASK/ask.sh"
fat=$(on one 'findmnt -n -o TARGET -t vfat')
is "F033, F052, P49 a login with strict checking" "$(on one 'echo in')" in
is "F043 host name" "$(on one 'hostnamectl hostname')" one
is "F044 full name" "$(on one 'hostname -f')" one.rig.home.arpa
has "F048, F050 account" "$(on one 'id; sudo -n true && echo sudo works')" "sudo works"
has "F047 time zone" "$(on one 'timedatectl show -p Timezone --value')" Europe/Berlin
has "F046 locale" "$(on one 'localectl status | head -n 1; locale -a | tr "\n" " "')" LANG=de_DE.UTF-8
has "F046 locale that is made" "$(on one 'locale -a | tr "\n" " "')" de_DE.utf8
has "F140 address" "$(on one 'ip -4 -brief address show eth0')" 10.11.0.101/24
is "P39 default routes" "$(on one 'ip route show default | wc -l')" 1
is "F058, F253 units that failed" "$(failed_units one)" 0
is "F058 cycles in the order of units" "$(on one 'sudo journalctl -b --no-pager | grep -c "ordering cycle"')" 0
is "F253 system" "$(on one 'systemctl is-system-running')" running
has "F025, F026, F027 controllers" " $(on one 'cat /sys/fs/cgroup/cgroup.controllers') " " memory "
has "F026, P05 controllers" " $(on one 'cat /sys/fs/cgroup/cgroup.controllers') " " cpuset "
has "F027, P03 controllers" " $(on one 'cat /sys/fs/cgroup/cgroup.controllers') " " pids "
is "F070, P10 swap" "$(on one 'sudo swapon --show | wc -l')" 0
is "P56 compressed swap" "$(on one 'ls /dev | grep -c zram')" 0
is "F051 passwords for SSH" "$(on one 'sudo sshd -T | grep ^passwordauthentication')" "passwordauthentication no"
has "F074, P30 forwarding" "$(on one 'sudo sysctl -n net.ipv4.ip_forward net.ipv6.conf.all.forwarding | tr "\n" " "')" "1 1"
has "F073, P30 bridges" "$(on one 'sudo sysctl -n net.bridge.bridge-nf-call-iptables net.bridge.bridge-nf-call-ip6tables | tr "\n" " "')" "1 1"
has "F075 modules" " $(on one 'lsmod | cut -d " " -f 1 | tr "\n" " "') " " br_netfilter "
has "F077 modules" " $(on one 'lsmod | cut -d " " -f 1 | tr "\n" " "') " " ip_vs "
is "F054 upgrades at the first boot" "$(on one 'cat /var/log/apt/history.log 2>/dev/null | grep -c "^Upgrade:"')" 0
has "F055 a pin" "$(on one 'apt-cache policy containerd')" " 1001"
is "F087 a folder for data" "$(on one 'stat -c "%a %G" /var/volumes; touch /var/volumes/mine && echo written' | tr "\n" " ")" "2775 sudo written "
is "F088 a disk that is away" "$(on one 'systemctl is-active mnt-data.mount; findmnt -n /mnt/data | wc -l' | tr "\n" " ")" "inactive 0 "
has "F090 a file as a block device" "$(on one 'sudo losetup --noheadings --output NAME,BACK-FILE')" "/dev/loop0 /var/gluster.img"
is "P35 the file is made after the root has grown" "$(on one 'sudo journalctl -b -o short-monotonic --no-pager -u ceil-loop-disk | grep -c Failed')" 0
has "F078 iptables" "$(on one 'sudo iptables -V')" nf_tables
is "P63 its own name in the file of hosts" "$(on one 'grep -c "^127.0.1.1.*one.rig.home.arpa" /etc/hosts')" 1
has "cloud-init" "$(on one 'cloud-init status || true')" "status: done"
is "cloud-init's errors" "$(cloud_init_errors one)" 0
# shellcheck disable=SC2016 # what is in single quotes is expanded on the node, here and below
has "F030 root" "$(on one 'test $(df -m --output=size / | tail -n 1) -ge 7400 && echo grown')" grown
is "P01, F062 machine id" "$(on one 'grep -c "^[0-9a-f]\{32\}$" /etc/machine-id')" 1
has "F251 log" "$(on one "sudo cat $fat/ceil-firstboot.log")" " ready"
is "secrets on the FAT" "$(on one "sudo grep -c passwd: $fat/user-data || true")" "$(printf '1')"
on one 'sudo cat /etc/machine-id' >"$CEIL_BOOT_DIR/machine-id.new"
on one 'cat /etc/hosts' >"$CEIL_BOOT_DIR/hosts.new"
if [ -e "$CEIL_BOOT_DIR/machine-id" ]; then
  is "machine id after a second boot" "$(cat "$CEIL_BOOT_DIR/machine-id.new")" "$(cat "$CEIL_BOOT_DIR/machine-id")"
  is "P48 the file of hosts after a second boot" "$(cat "$CEIL_BOOT_DIR/hosts.new")" "$(cat "$CEIL_BOOT_DIR/hosts")"
  blame=$(on one 'systemd-analyze blame --no-pager')
  grep -e ceil- -e cloud-init <<<"$blame"
  # But for the device in a file, which this node asks for.
  ours_are_quick <<<"$(grep -v ceil-loop-disk <<<"$blame")"
fi
on one sync
for file in machine-id hosts; do mv "$CEIL_BOOT_DIR/$file.new" "$CEIL_BOOT_DIR/$file"; done
