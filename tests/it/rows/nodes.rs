//! Nodes whose images every row is tried on.

use super::lab::{Recipe, Spoilt};

fn as_is(_: &mut Spoilt) {}

/// A router and two nodes of k3s, joined by WiFi as well.
const HOME: &str = "\
cluster: {name: lab, domain: lab.example}
network:
  lan: 10.11.0.0/25
  gateway: 10.11.0.1
  dns: [9.9.9.9, 1.1.1.1]
  dhcp-pool: 10.11.0.20-10.11.0.99
  pods: 10.244.0.0/16
  services: 10.96.0.0/12
kubernetes: {distribution: k3s}
registries: {mirror: \"http://router.lab.example:5000\"}
wifi:
  home: {ssid: \"It's home\", country: DE, psk: wifi}
defaults: {timezone: UTC}
nodes:
  - name: router
    profile: router
    board: pi3b+
    address: 10.11.0.1/25
    interfaces:
      eth0: {use: lan}
      wlan0: {address: dhcp, use: uplink, wifi: home}
    config-txt: [{section: all, set: {enable_uart: 0}}]
  - name: one
    profile: server
    address: 10.11.0.101/25
    interfaces: {eth0: {use: cluster, mac: 'b8:27:eb:00:00:01'}}
    labels: {kubernetes.io/arch: arm64}
    users: {ada: {ssh-keys: ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2Vd0hI7x3e3g0c0S4Zb6n4kq1aS9mXoJ0vX2bqf3Qp me@here']}}
    addons: [hello, coredns-custom]
    edits:
      - {put: 'root:/etc/systemd/system/k3s.service.d/proxy.conf', content: \"[Service]\\nEnvironment=HTTPS_PROXY=http://p:3128\\nEnvironment=NO_PROXY=10.244.0.0/16,10.96.0.0/12\\n\"}
  - name: two
    profile: agent
    address: 10.11.0.102/25
    interfaces: {eth0: {use: cluster, mac: 'b8:27:eb:00:00:02'}}
    disks: {data: {label: data, mount: /mnt/data}}
    overlays: [disks]
    users: {ada: {ssh-keys: ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2Vd0hI7x3e3g0c0S4Zb6n4kq1aS9mXoJ0vX2bqf3Qp me@here']}}
";

const HELLO: &[(&str, &str)] = &[
    (
        "addons/hello.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: hello}\ndata: {a: b}\n",
    ),
    (
        "addons/coredns-custom.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: coredns-custom, namespace: kube-system}\ndata: {lab.server: x}\n",
    ),
];

/// A server and a worker of kubeadm.
const KUBEADM: &str = "\
cluster: {name: adm}
network: {lan: 10.11.0.0/25, gateway: 10.11.0.1, dns: [10.11.0.1]}
kubernetes: {distribution: kubeadm, version: v1.36.4}
registries: {mirror: \"http://10.11.0.1:5000\"}
nodes:
  - {name: one, profile: server, address: 10.11.0.101/25}
  - {name: two, profile: agent, address: 10.11.0.102/25}
";

/// A node with files of its own.
const PLAIN: &str = "\
cluster: {name: plain}
network: {lan: 10.11.0.0/25, gateway: 10.11.0.1}
nodes:
  - name: one
    profile: node
    role: storage
    address: 10.11.0.101/25
    modules: [dm_snapshot]
    config-txt:
      - {section: all, set: {max_usb_current: 1, hdmi_force_hotplug: 1}}
      - {section: pi4, set: {arm_boost: 0}}
    edits:
      - {put: 'root:/opt/tool', from: program, mode: '0750', owner: '1000:1000'}
      - {put: 'root:/usr/local/bin/tool', from: program, mode: '0755'}
      - {put: 'boot:/note.txt', content: note}
      - {put: 'boot:/vmlinuz-mine', content: \"\\0Linux version 6.1.99-mine (me)\"}
      - {put: 'root:/lib/modules/6.1.99-mine/modules.dep', content: \"kernel/drivers/md/dm-snapshot.ko.xz:\\n\"}
      - {put: 'root:/etc/apt/preferences.d/docker', content: \"Package: docker-ce\\nPin: version 5:18.*\\nPin-Priority: 1001\\n\"}
      - {put: 'root:/etc/apt/sources.list.d/k.sources', content: \"Types: deb\\nURIs: https://k.example\\nSuites: /\\nSigned-By: /etc/apt/keyrings/k.gpg\\n\"}
      - {put: 'root:/etc/docker/daemon.json', content: '{\"labels\": [\"arch=arm64\"], \"log-opts\": {\"max-size\": \"10m\"}}'}
      - {put: 'root:/etc/heketi/topology.json', content: '{\"clusters\": [{\"nodes\": [{\"node\": {\"hostnames\": {\"manage\": [\"one\"], \"storage\": [\"10.11.0.101\"]}, \"zone\": 1}, \"devices\": [\"/dev/sda\"]}]}]}'}
      - {fstab: {mount: /data, device: LABEL=data, type: ext4, options: 'defaults,nofail', pass: 2}}
";

const LEGACY: &str = "\
cluster: {name: old}
network: {lan: 10.11.0.0/25, gateway: 10.11.0.1}
nodes: [{name: one, profile: hypriot-legacy, address: 10.11.0.101/25}]
";

const RPI64: &str = "\
cluster: {name: old}
network: {lan: 10.11.0.0/25, gateway: 10.11.0.1}
nodes: [{name: one, profile: minimal, address: 10.11.0.101/25, timezone: UTC, legacy: true}]
";

const UBUNTU: &str = "\
cluster: {name: u}
network: {lan: 10.11.0.0/25, gateway: 10.11.0.1}
nodes: [{name: one, profile: node, address: 10.11.0.101/25}]
";

const BIT: &str = "\
cluster: {name: b}
nodes: [{name: one, profile: usb-boot-bit, board: pi3b}]
";

/// The kernels of the fixtures list modules in excerpts, without what flannel needs.
pub(super) fn kernel(base: &mut Spoilt) {
    let dir = ["/usr/lib/modules", "/lib/modules"]
        .into_iter()
        .find(|dir| base.is_there(dir));
    let Some(dir) = dir else { return };
    for release in base.names(dir) {
        base.add(
            &format!("{dir}/{release}/modules.dep"),
            "kernel/drivers/net/vxlan/vxlan.ko.xz:\nkernel/drivers/md/dm-mirror.ko.xz:\nkernel/drivers/md/dm-thin-pool.ko.xz:\n",
        );
    }
}

/// As Ubuntu 25.10 and later lay the firmware's volume out.
fn current(base: &mut Spoilt) {
    let line = base.read("boot:/cmdline.txt");
    base.put("boot:/current/cmdline.txt", line);
    let config = base.read("boot:/config.txt");
    base.put("boot:/config.txt", format!("[all]\nos_prefix=current/\n{config}"));
}

pub(super) const RECIPES: &[Recipe] = &[
    Recipe {
        name: "router",
        family: "raspios-trixie",
        base: Some("raspios-trixie-arm64"),
        node: "router",
        cluster: HOME,
        files: HELLO,
        prepare: kernel,
        programs: &[],
    },
    Recipe {
        name: "k3s-server",
        family: "raspios-trixie",
        base: Some("raspios-trixie-arm64"),
        node: "one",
        cluster: HOME,
        files: HELLO,
        prepare: kernel,
        programs: &[("k3s", "1.36.4+k3s1"), ("k3s-airgap-images", "1.36.4+k3s1")],
    },
    Recipe {
        name: "k3s-agent",
        family: "raspios-bookworm",
        base: Some("raspios-bookworm-arm64"),
        node: "two",
        cluster: HOME,
        files: HELLO,
        prepare: kernel,
        programs: &[("k3s", "1.36.4+k3s1"), ("k3s-airgap-images", "1.36.4+k3s1")],
    },
    Recipe {
        name: "kubeadm-server",
        family: "ubuntu-raspi",
        base: None,
        node: "one",
        cluster: KUBEADM,
        files: &[],
        prepare: kernel,
        programs: &[
            ("containerd-static", "2.3.1"),
            ("kubelet", "1.36.4"),
            ("kubeadm", "1.36.4"),
            ("kubectl", "1.36.4"),
        ],
    },
    Recipe {
        name: "kubeadm-worker",
        family: "debian-gpt",
        base: None,
        node: "two",
        cluster: KUBEADM,
        files: &[],
        prepare: kernel,
        programs: &[("containerd-static", "2.3.1"), ("kubelet", "1.36.4")],
    },
    Recipe {
        name: "plain",
        family: "raspios-bullseye",
        base: None,
        node: "one",
        cluster: PLAIN,
        files: &[],
        prepare: as_is,
        programs: &[],
    },
    Recipe {
        name: "hypriot",
        family: "hypriot",
        base: Some("hypriotos-1.10.0"),
        node: "one",
        cluster: LEGACY,
        files: &[],
        prepare: as_is,
        programs: &[],
    },
    Recipe {
        name: "rpi64",
        family: "rpi64",
        base: Some("rpi64-v20180429-184538"),
        node: "one",
        cluster: RPI64,
        files: &[],
        prepare: as_is,
        programs: &[],
    },
    Recipe {
        name: "buster",
        family: "raspios-buster",
        base: None,
        node: "one",
        cluster: RPI64,
        files: &[],
        prepare: as_is,
        programs: &[],
    },
    Recipe {
        name: "ubuntu-current",
        family: "ubuntu-raspi",
        base: None,
        node: "one",
        cluster: UBUNTU,
        files: &[],
        prepare: current,
        programs: &[],
    },
    Recipe {
        name: "usb-boot-bit",
        family: "demo",
        base: None,
        node: "one",
        cluster: BIT,
        files: &[],
        prepare: as_is,
        programs: &[],
    },
];
