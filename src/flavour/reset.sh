#!/bin/sh
# Takes Kubernetes off this node as far as it was set up by running: containers, mounts, links, rules and state. What
# the card was made with stays (programs, images, authorities, configuration), so that the node can join again: at
# the next boot, or, with --off, not before its units are enabled again.
#
# usage: ceil-reset --yes [--off]
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

say() { printf 'ceil-reset: %s\n' "$*" >&2; }

sure=""
off=""
for word; do
  case $word in
  --yes) sure=1 ;;
  --off) off=1 ;;
  *)
    say "unknown word '$word'; usage: ceil-reset --yes [--off]"
    exit 2
    ;;
  esac
done
if [ -z "$sure" ]; then
  say "this removes the state of Kubernetes on this node, with the volumes in it; say --yes"
  exit 2
fi
if [ "$(id -u)" != 0 ]; then
  say "only root can do this"
  exit 1
fi

say "stopping"
for unit in ceil-cluster ceil-addons ceil-kubeconfig k3s k3s-agent kubelet containerd; do
  if [ -n "$off" ]; then systemctl disable "$unit.service" 2>/dev/null || true; fi
  systemctl stop "$unit.service" 2>/dev/null || true
done

# Containers outlive what started them: first those in groups of pods, then the shims.
procs() { find /sys/fs/cgroup -path '*kubepods*' -name cgroup.procs -exec cat {} + 2>/dev/null || true; }
for round in 1 2 3; do
  pids=$(procs)
  [ -n "$pids" ] || break
  for pid in $pids; do kill -KILL "$pid" 2>/dev/null || true; done
  [ "$round" = 3 ] || sleep 1
done
for exe in /proc/[0-9]*/exe; do
  case $(readlink "$exe" 2>/dev/null || true) in
  */containerd-shim*)
    pid=${exe#/proc/}
    kill -KILL "${pid%/exe}" 2>/dev/null || true
    ;;
  esac
done

say "unmounting"
# The innermost first; blanks in paths are written as \040 there.
sed '1!G;h;$!d' /proc/self/mounts | while read -r _ path _; do
  case $path in
  /run/k3s/* | /var/lib/rancher/k3s/* | /var/lib/kubelet/* | /run/containerd/* | /var/lib/containerd/* | /run/netns/cni-*)
    umount -l "$(printf '%b' "$path")" 2>/dev/null || true
    ;;
  esac
done
rm -rf /run/netns/cni-*

say "removing links and rules"
if command -v ip >/dev/null; then
  for link in cni0 flannel.1 flannel-v6.1 flannel-wg kube-ipvs0 nodelocaldns; do
    ip link delete "$link" 2>/dev/null || true
  done
fi
for family in iptables ip6tables; do
  if command -v "$family-save" >/dev/null && command -v "$family-restore" >/dev/null; then
    "$family-save" | grep -v -e KUBE- -e CNI- -e FLANNEL- -e flannel | "$family-restore" || true
  fi
done

say "removing state"
rm -rf /var/lib/cni /var/lib/kubelet /var/lib/etcd /run/flannel /run/k3s
if [ -d /etc/cni/net.d ]; then
  find /etc/cni/net.d -mindepth 1 ! -name 10-ceil.conflist -delete
fi
# Of k3s the authorities, tokens and manifests of the card stay, and the archives of images.
k3s=/var/lib/rancher/k3s
rm -rf "$k3s/server/db" "$k3s/server/cred" "$k3s/data"
if [ -d "$k3s/agent" ]; then
  find "$k3s/agent" -mindepth 1 -maxdepth 1 ! -name images -exec rm -rf {} +
fi
rm -rf /etc/rancher/node
# Of kubeadm the same.
rm -rf /etc/kubernetes/manifests
rm -f /etc/kubernetes/admin.conf /etc/kubernetes/super-admin.conf /etc/kubernetes/kubelet.conf \
  /etc/kubernetes/bootstrap-kubelet.conf /etc/kubernetes/controller-manager.conf /etc/kubernetes/scheduler.conf
# The steps of the first boot that made the node a member are taken again, unless it is to stay off.
rm -f /var/lib/ceil/ready /var/lib/ceil/failed/*
if [ -z "$off" ]; then
  rm -f /var/lib/ceil/done/cluster /var/lib/ceil/done/addons
fi
say "done"
