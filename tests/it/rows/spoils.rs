//! How an image is spoilt so that it fails a row.

use ceil_img::values::Arch;
use serde_json::json;

use super::lab::{Spoilt, elf};

pub(super) struct Spoil {
    pub(super) id: &'static str,
    pub(super) node: &'static str,
    /// What the row must say about it.
    pub(super) says: &'static str,
    pub(super) how: fn(&mut Spoilt),
}

const CMDLINE: &str = "boot:/cmdline.txt";
const CONFIG: &str = "boot:/config.txt";
const K3S: &str = "/etc/rancher/k3s/config.yaml";

macro_rules! spoils {
    ($($id:literal $node:literal $says:literal $how:expr;)*) => {
        pub(super) const SPOILS: &[Spoil] = &[$(Spoil { id: $id, node: $node, says: $says, how: $how }),*];
    };
}

spoils! {
    "F007" "hypriot" "HYPRIOT_IMAGE_VERSION" |s| s.swap("/usr/lib/os-release", "v1.10.0", "v1.9.0");
    "F008" "k3s-server" "VERSION_CODENAME" |s| s.swap("/usr/lib/os-release", "VERSION_CODENAME=trixie", "VERSION_CODENAME=forky");
    // The type of the second partition in the table.
    "F009" "k3s-server" "type 82" |s| write(s, 446 + 16 + 4, &[0x82]);
    // The signature of the disk.
    "F009" "k3s-server" "no id" |s| write(s, 440, &[0; 4]);
    "F011" "k3s-server" "for armhf" |s| s.put("/usr/local/bin/k3s", elf(Arch::Armhf));
    "F011" "plain" "for amd64" |s| s.put("/usr/local/bin/tool", elf(Arch::Amd64));
    "F013" "plain" "are reserved" fill;
    "F014" "plain" "is missing" |s| s.remove("/usr/lib/modules/6.1.99-mine");
    "F020" "plain" "`max_usb_current`" |s| s.add(CONFIG, "max_usb_current=1\n");
    "F020" "plain" "[pi4]" |s| s.swap(CONFIG, "arm_boost=0", "arm_boost=1");
    "F020" "plain" "is gone" |s| s.swap(CONFIG, "dtparam=audio=on\n", "");
    "F022" "router" "serial console" |s| s.swap(CONFIG, "enable_uart=0", "enable_uart=1");
    "F023" "plain" "`hdmi_force_hotplug=1`" |s| s.swap(CONFIG, "hdmi_force_hotplug=1", "#");
    "F024" "plain" "would burn" |s| s.add(CONFIG, "program_usb_boot_mode=1\n");
    "F024" "usb-boot-bit" "lacks" |s| s.swap(CONFIG, "program_usb_boot_mode=1", "#");
    "F025" "k3s-server" "lacks" |s| s.swap(CMDLINE, " cgroup_enable=memory", "");
    "F025" "k3s-server" "may undo it" |s| s.swap(CMDLINE, "cgroup_enable=memory", "cgroup_enable=memory cgroup_disable=memory");
    "F025" "k3s-server" "not one line" |s| s.swap(CMDLINE, " cgroup_enable", "\ncgroup_enable");
    "F028" "hypriot" "is gone" |s| s.swap(CMDLINE, " swapaccount=1", "");
    "F028" "k3s-server" "mounts v2" |s| s.swap(CMDLINE, "cgroup_enable", "swapaccount=1 cgroup_enable");
    "F029" "k3s-server" "looks for its root" |s| s.swap(CMDLINE, "041bba91-02", "041bba92-02");
    "F029" "k3s-server" "fstab mounts" |s| s.swap("/etc/fstab", "PARTUUID=041bba91-02", "PARTUUID=041bba91-03");
    "F029" "kubeadm-worker" "looks for its root" |s| s.swap(CMDLINE, "4f812e50", "4f812e51");
    "F030" "k3s-server" "keeps its size" |s| s.swap(CMDLINE, " resize", "");
    "F030" "hypriot" "keeps its size" |s| s.swap(CMDLINE, " init=/usr/lib/raspi-config/init_resize.sh", "");
    "F031" "rpi64" "another name" |s| s.swap(CMDLINE, " net.ifnames=0", "");
    "F032" "ubuntu-current" "lacks `cgroup_enable=memory`" |s| s.swap("boot:/current/cmdline.txt", " cgroup_enable=memory", "");
    "F032" "ubuntu-current" "does not lead" |s| s.swap(CONFIG, "os_prefix=current/\n", "");
    "F033" "k3s-agent" "nothing starts" no_ssh;
    "F034" "plain" "other content" |s| s.put("boot:/note.txt", "nota");
    "F035" "buster" "before the build" |s| s.put("/etc/fake-hwclock.data", "2024-12-31 23:59:59\n");
    "F035" "k3s-server" "older than the build" |s| s.age("/var/lib/systemd/timesync/clock");
    "F036" "k3s-server" "names the card reader" |s| s.add("/etc/fstab", "/dev/mmcblk0p3 none swap sw 0 0\n");
    "F040" "k3s-server" "passes it over" |s| s.swap("boot:/user-data", "#cloud-config\n", "# cloud-config\n");
    "F040" "k3s-server" "is no YAML" |s| s.add("boot:/user-data", "a: [\n");
    "F041" "k3s-server" "every card of the base" |s| s.put("boot:/meta-data", "instance-id: rpios-image\n");
    "F041" "k3s-server" "not one of node" |s| s.swap("boot:/meta-data", "lab-one-", "lab-two-");
    "F042" "k3s-server" "does not name the interface" |s| s.swap("boot:/network-config", "eth0", "eth1");
    "F042" "k3s-server" "version" |s| s.swap("boot:/network-config", "version: 2", "version: 3");
    "F045" "k3s-server" "no line for `two`" |s| s.swap("/etc/hosts", "10.11.0.102", "10.11.0.103");
    "F048" "k3s-server" "does not lock" |s| s.swap("boot:/user-data", "lock_passwd: true", "lock_passwd: false");
    "F048" "k3s-server" "in the clear" |s| s.add("boot:/user-data", "password: hello\n");
    "F048" "k3s-agent" "has a password" |s| s.swap("/etc/shadow", "ada:!", "ada:$6$a$b");
    "F048" "k3s-agent" "no key" |s| s.put("/home/ada/.ssh/authorized_keys", "");
    "F055" "plain" "priority 990" |s| s.swap("/etc/apt/preferences.d/docker", "1001", "990");
    "F056" "plain" "without `Signed-By`" |s| s.swap("/etc/apt/sources.list.d/k.sources", "Signed-By", "X-Signed");
    "F056" "plain" "every source" |s| s.put("/etc/apt/trusted.gpg.d/k.gpg", "key");
    "F057" "plain" "mode 0755" |s| s.chmod("/opt/tool", 0o755);
    "F057" "plain" "other content" |s| s.put("/opt/tool", "x");
    "F057" "plain" "is missing" |s| s.remove("/opt/tool");
    "F061" "router" "neither off" |s| s.remove("boot:/network-config");
    "F062" "k3s-server" "same machine" |s| s.put("/etc/machine-id", "4f1c2c1e0a6b4d52a1f0c3d9e8b7a605\n");
    "F062" "hypriot" "a copy" |s| { s.remove("/var/lib/dbus/machine-id"); s.put("/var/lib/dbus/machine-id", "4f1c2c1e\n"); };
    "F073" "k3s-server" "bridge-nf-call-ip6tables" |s| every(s, "/etc/sysctl.d", "net.bridge.bridge-nf-call-ip6tables", "#");
    "F075" "k3s-server" "names `overlay`" |s| every(s, "/etc/modules-load.d", "overlay", "#");
    "F076" "plain" "names `dm_snapshot`" |s| every(s, "/etc/modules-load.d", "dm_snapshot", "#");
    "F076" "plain" "no module" |s| s.put("/usr/lib/modules/6.1.99-mine/modules.dep", "kernel/a.ko:\n");
    "F081" "kubeadm-server" "drive the cgroups" |s| s.swap("/etc/containerd/config.toml", "SystemdCgroup = true", "SystemdCgroup = false");
    "F083" "plain" "no JSON" |s| s.put("/etc/docker/daemon.json", "{\"a\": 1,}");
    "F083" "kubeadm-server" "no line of TOML" |s| s.add("/etc/containerd/config.toml", "root = \"/x\n");
    "F084" "k3s-server" "name the mirror" |s| s.swap("/etc/rancher/k3s/registries.yaml", ":5000", ":5001");
    "F084" "kubeadm-worker" "name the mirror" |s| s.remove("/etc/containerd/certs.d");
    "F086" "k3s-server" "10.96.0.0/12" |s| s.swap("/etc/systemd/system/k3s.service.d/proxy.conf", ",10.96.0.0/12", "");
    "F088" "plain" "another disk" |s| s.swap("/etc/fstab", "LABEL=data", "/dev/sda1");
    "F088" "plain" "without `nofail`" |s| s.swap("/etc/fstab", "defaults,nofail", "defaults");
    "F088" "k3s-agent" "nothing mounts" |s| s.put("/etc/ceil/mounts", "");
    "F088" "k3s-agent" "another disk" |s| s.swap("/etc/ceil/mounts", "LABEL=data", "/dev/sda1");
    "F091" "router" "no hashed key" |s| s.put("boot:/network-config", PLAIN_WIFI);
    "F092" "router" "country DE" no_country;
    "F102" "k3s-agent" "mode 0644" |s| s.chmod(K3S, 0o644);
    "F102" "k3s-agent" "`--token`" |s| s.swap("/etc/systemd/system/k3s-agent.service", "k3s agent", "k3s agent --token x");
    "F105" "k3s-server" "`k3s-airgap-images` is" |s| s.manifest["inputs"][1]["version"] = json!("1.35.0+k3s1");
    "F105" "kubeadm-server" "`kubectl` is" |s| s.manifest["inputs"][3]["version"] = json!("1.35.0");
    "F106" "k3s-server" "no archive" |s| s.remove("/var/lib/rancher/k3s/agent/images/k3s-airgap-images.tar.zst");
    "F107" "k3s-agent" "too short" |s| retoken(s, |_, _| "changeme".to_owned());
    "F107" "k3s-agent" "none of this cluster" |s| retoken(s, |_, _| "0123456789abcdef0123456789abcdef".to_owned());
    "F108" "k3s-agent" "without a hash" bare_token;
    "F108" "kubeadm-worker" "without a hash" |s| s.swap("/etc/kubernetes/kubeadm.yaml", "sha256:", "");
    "F119" "k3s-server" "points to" |s| s.link("/usr/local/bin/ctr", "/usr/bin/ctr");
    "F119" "k3s-server" "no link" |s| s.remove("/usr/local/bin/crictl");
    "F142" "router" "0 reservations" |s| every(s, "/etc/dnsmasq.d", "b8:27:eb:00:00:02", "b8:27:eb:00:00:03");
    "F142" "router" "is kept" |s| every(s, "/etc/dnsmasq.d", ",10.11.0.102,", ",10.11.0.30,");
    "F145" "router" "cluster file names" |s| every(s, "/etc/dnsmasq.d", "server=1.1.1.1", "server=8.8.8.8");
    "F177" "plain" "no device" |s| s.swap("/etc/heketi/topology.json", "\"/dev/sda\"", "");
    "F177" "plain" "0 times" |s| s.swap("/etc/heketi/topology.json", "10.11.0.101", "10.11.0.102");
    "F190" "k3s-server" "`hello`" |s| s.remove("/var/lib/rancher/k3s/server/manifests/ceil-hello.yaml");
    "F190" "k3s-server" "no YAML" |s| s.put("/var/lib/rancher/k3s/server/manifests/ceil-hello.yaml", "a: [");
    "F196" "k3s-server" "coredns-custom" |s| s.swap("/var/lib/rancher/k3s/server/manifests/ceil-coredns-custom.yaml", "kube-system", "default");
    "P01" "k3s-server" "HypriotOS 1.4.0" |s| s.put("/etc/machine-id", "9989a26f06984d6dbadc01770f018e3b\n");
    "P02" "k3s-server" "every card of the base" |s| s.put("boot:/meta-data", "instance-id: rpios-image\n");
    "P04" "k3s-server" "old kernels" |s| s.swap(CMDLINE, "cgroup_enable", "cgroup_memory=1 cgroup_enable");
    "P06" "k3s-server" "a list" |s| s.swap(CMDLINE, "cgroup_enable=memory", "cgroup_enable=cpuset,memory");
    "P07" "k3s-server" "nobody asked" |s| s.swap(CMDLINE, " rootwait", "");
    "P08" "k3s-server" "second line" |s| s.add(CMDLINE, "quiet\n");
    "P09" "k3s-server" "lacks `cgroup_enable=memory`" |s| s.swap(CMDLINE, " cgroup_enable=memory", "");
    "P19" "plain" "labels the node" |s| s.swap("/etc/docker/daemon.json", "arch=arm64", "arch=arm");
    "P19" "k3s-server" "labels the node" |s| s.swap(K3S, "arch=arm64", "arch=amd64");
    "P24" "k3s-server" "the cluster's root has" rehash;
    "P24" "k3s-agent" "the cluster's root has" rehash;
    "P24" "kubeadm-worker" "the cluster's root has" |s| {
        let text = s.read("/etc/kubernetes/kubeadm.yaml");
        let at = text.find("sha256:").unwrap() + 7;
        let wrong = if text[at..].starts_with('0') { "1" } else { "0" };
        s.put("/etc/kubernetes/kubeadm.yaml", format!("{}{wrong}{}", &text[..at], &text[at + 1..]));
    };
    "P25" "k3s-server" "has mode 0644" |s| s.chmod("/var/lib/rancher/k3s/server/tls/server-ca.key", 0o644);
    "P25" "k3s-server" "the manifest tells" |s| s.manifest["changes"][0]["digest"] = json!("00");
    "P26" "kubeadm-server" "every check" |s| s.put("/usr/local/sbin/join", "kubeadm join --ignore-preflight-errors=all\n");
    "P36" "k3s-server" "10.244.1.7" |s| s.swap("/var/lib/rancher/k3s/server/manifests/ceil-hello.yaml", "a: b", "a: http://10.244.1.7:80");
    "P44" "kubeadm-server" "too old" |s| s.manifest["inputs"][0]["version"] = json!("1.5.9");
    "P46" "plain" "is missing" |s| s.remove("/usr/lib/modules/6.1.99-mine");
    "P60" "plain" "are reserved" fill;
    "P63" "k3s-server" "the node is `one`" |s| { let t = loopback(s, "router"); s.put("/etc/hosts", t); };
    "P64" "k3s-server" "would join itself" |s| s.put("/etc/systemd/system/k3s-agent.service", "[Service]\n");
    "P64" "kubeadm-server" "begins a cluster and joins one" |s| s.add("/etc/kubernetes/kubeadm.yaml", "---\nkind: JoinConfiguration\n");
}

const PLAIN_WIFI: &str = "version: 2\nwifis:\n  wlan0:\n    dhcp4: true\n    access-points: {\"It's home\": {password: secret words}}\n";

fn write(spoilt: &mut Spoilt, at: u64, bytes: &[u8]) {
    use ceil_img::disk::BlockIo as _;
    spoilt.image.overlay.write_at(at, bytes).unwrap();
}

/// Leaves no room.
fn fill(spoilt: &mut Spoilt) {
    let free = spoilt
        .image
        .volume(ceil_img::values::VolumeName::Root)
        .unwrap()
        .space()
        .free;
    // Most of what is free; the reserve of the profile is a good part of it.
    spoilt.put("/opt/big", vec![1u8; usize::try_from(free - (8 << 20)).unwrap()]);
}

fn no_ssh(spoilt: &mut Spoilt) {
    for path in [
        "/etc/systemd/system/multi-user.target.wants/ssh.service",
        "/etc/systemd/system/multi-user.target.wants/sshd.service",
        "boot:/ssh",
    ] {
        if spoilt.is_there(path) {
            spoilt.remove(path);
        }
    }
}

fn no_country(spoilt: &mut Spoilt) {
    spoilt.swap(
        CMDLINE,
        "cfg80211.ieee80211_regdom=DE",
        "cfg80211.ieee80211_regdom=GB",
    );
    spoilt.put("boot:/network-config", "version: 2\n");
}

/// Replaces words in every file of a folder that has them.
fn every(spoilt: &mut Spoilt, dir: &str, old: &str, new: &str) {
    let names = spoilt.names(dir).into_iter().map(|name| format!("{dir}/{name}"));
    let with: Vec<String> = names
        .into_iter()
        .filter(|n| spoilt.read(n).contains(old))
        .collect();
    assert!(!with.is_empty(), "no file of {dir} has {old}");
    for name in with {
        spoilt.swap(&name, old, new);
    }
}

/// Replaces the secret of the token to join with.
fn retoken(spoilt: &mut Spoilt, new: fn(&str, &str) -> String) {
    let text = spoilt.read(K3S);
    let lines: Vec<String> = text
        .lines()
        .map(|line| match line.strip_prefix("token: ") {
            Some(value) => {
                let value = value.trim_matches(['"', '\'']);
                let (head, secret) = value.rsplit_once(':').unwrap_or(("", value));
                let new = new(head, secret);
                if head.is_empty() {
                    format!("token: {new}")
                } else {
                    format!("token: {head}:{new}")
                }
            }
            None => line.to_owned(),
        })
        .collect();
    spoilt.put(K3S, lines.join("\n") + "\n");
}

/// The token without what the server is checked by.
fn bare_token(spoilt: &mut Spoilt) {
    let text = spoilt.read(K3S);
    let lines: Vec<String> = text
        .lines()
        .map(|line| match line.strip_prefix("token: ") {
            Some(value) => format!(
                "token: {}",
                value.trim_matches(['"', '\'']).rsplit(':').next().unwrap()
            ),
            None => line.to_owned(),
        })
        .collect();
    spoilt.put(K3S, lines.join("\n") + "\n");
}

/// One digit of the hash in the token becomes another.
fn rehash(spoilt: &mut Spoilt) {
    let text = spoilt.read(K3S);
    let at = text.find("K10").unwrap() + 3;
    let wrong = if text[at..].starts_with('0') { "1" } else { "0" };
    spoilt.put(K3S, format!("{}{wrong}{}", &text[..at], &text[at + 1..]));
}

/// The hosts file with another loopback name.
fn loopback(spoilt: &Spoilt, name: &str) -> String {
    spoilt
        .read("/etc/hosts")
        .lines()
        .map(|l| {
            if l.starts_with("127.0.1.1") {
                format!("127.0.1.1 {name}\n")
            } else {
                format!("{l}\n")
            }
        })
        .collect()
}
