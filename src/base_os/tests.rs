//! Facts and identity on volumes made up here: probing is pure over [`Volume`], so a map of names will do.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::disk::{BlockIo, Bytes, Source};
use crate::fs::{Attrs, DirEntry, Finding, FsError, FsResult, NodeKind, Space, Stat, Time, Volume, show};
use crate::plan::{
    Address, BasePlace, BaseRef, Content, Edit, Identity, NodePlan, Op, Origin, OutputFormat, StaticAddress,
};
use crate::values::{ByteSize, Digest, Timestamp};

use super::*;

mod seeds;
mod wishes;

enum Node {
    File(Vec<u8>),
    Link(&'static str),
}

/// Files and links by path; directories are what stands above them.
struct Made {
    label: &'static str,
    nodes: BTreeMap<String, Node>,
}

impl Made {
    fn new(label: &'static str) -> Self {
        Self {
            label,
            nodes: BTreeMap::new(),
        }
    }

    fn file(mut self, path: &str, text: &str) -> Self {
        self.nodes
            .insert(path.to_owned(), Node::File(text.as_bytes().to_vec()));
        self
    }

    fn elf(mut self, path: &str, order: u8, machine: [u8; 2]) -> Self {
        let mut bytes = b"\x7fELF\x02".to_vec();
        bytes.push(order);
        bytes.resize(18, 0);
        bytes.extend(machine);
        bytes.resize(64, 0);
        self.nodes.insert(path.to_owned(), Node::File(bytes));
        self
    }

    fn link(mut self, path: &str, target: &'static str) -> Self {
        self.nodes.insert(path.to_owned(), Node::Link(target));
        self
    }
}

impl Volume for Made {
    fn kind(&self) -> &'static str {
        "made"
    }

    fn label(&self) -> String {
        self.label.to_owned()
    }

    fn uuid(&self) -> String {
        String::new()
    }

    fn features(&self) -> Vec<String> {
        Vec::new()
    }

    fn space(&self) -> Space {
        Space::default()
    }

    fn stat(&self, path: &[u8]) -> FsResult<Option<Stat>> {
        let path = show(path);
        let below = format!("{}/", path.trim_end_matches('/'));
        let (kind, size) = match self.nodes.get(&path) {
            Some(Node::File(bytes)) => (NodeKind::File, bytes.len() as u64),
            Some(Node::Link(target)) => (NodeKind::Symlink, target.len() as u64),
            None if self.nodes.keys().any(|k| k.starts_with(&below)) => (NodeKind::Dir, 0),
            None => return Ok(None),
        };
        Ok(Some(Stat {
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size,
            mtime: Time::default(),
            links: 1,
            id: 1,
            rdev: (0, 0),
        }))
    }

    fn read_dir(&self, path: &[u8]) -> FsResult<Vec<DirEntry>> {
        let below = format!("{}/", show(path).trim_end_matches('/'));
        let mut names: Vec<&str> = self
            .nodes
            .keys()
            .filter_map(|k| k.strip_prefix(&below)?.split('/').next())
            .collect();
        names.dedup();
        names
            .into_iter()
            .map(|name| {
                let stat = self.stat(format!("{below}{name}").as_bytes())?;
                Ok(DirEntry {
                    name: name.as_bytes().to_vec(),
                    stat: stat.expect("listed"),
                })
            })
            .collect()
    }

    fn read_link(&self, path: &[u8]) -> FsResult<Vec<u8>> {
        match self.nodes.get(&show(path)) {
            Some(Node::Link(target)) => Ok(target.as_bytes().to_vec()),
            _ => Err(FsError::NotFound(show(path))),
        }
    }

    fn open(&self, path: &[u8]) -> FsResult<Arc<dyn Source>> {
        match self.nodes.get(&show(path)) {
            Some(Node::File(bytes)) => Ok(Bytes::shared(bytes)),
            _ => Err(FsError::NotFound(show(path))),
        }
    }

    fn xattrs(&self, _: &[u8]) -> FsResult<Vec<(Vec<u8>, Vec<u8>)>> {
        Ok(Vec::new())
    }

    fn put_file(&mut self, _: &[u8], _: &Arc<dyn Source>, _: bool, _: &Attrs) -> FsResult<()> {
        unreachable!("probing changes nothing")
    }

    fn append(&mut self, _: &[u8], _: &Arc<dyn Source>, _: &Attrs) -> FsResult<()> {
        unreachable!("probing changes nothing")
    }

    fn make_dir(&mut self, _: &[u8], _: &Attrs) -> FsResult<()> {
        unreachable!("probing changes nothing")
    }

    fn symlink(&mut self, _: &[u8], _: &[u8], _: &Attrs) -> FsResult<()> {
        unreachable!("probing changes nothing")
    }

    fn hard_link(&mut self, _: &[u8], _: &[u8], _: Time) -> FsResult<()> {
        unreachable!("probing changes nothing")
    }

    fn rename(&mut self, _: &[u8], _: &[u8], _: Time) -> FsResult<()> {
        unreachable!("probing changes nothing")
    }

    fn remove(&mut self, _: &[u8], _: bool, _: Time) -> FsResult<()> {
        unreachable!("probing changes nothing")
    }

    fn set_attrs(&mut self, _: &[u8], _: &Attrs) -> FsResult<()> {
        unreachable!("probing changes nothing")
    }

    fn set_xattr(&mut self, _: &[u8], _: &[u8], _: Option<&[u8]>, _: Time) -> FsResult<()> {
        unreachable!("probing changes nothing")
    }

    fn grow(&mut self, _: Arc<dyn BlockIo>) -> FsResult<()> {
        unreachable!("probing changes nothing")
    }

    fn commit(&mut self) -> FsResult<()> {
        unreachable!("probing changes nothing")
    }

    fn used_ranges(&self) -> FsResult<Vec<Range<u64>>> {
        Ok(Vec::new())
    }

    fn check(&self) -> FsResult<Vec<Finding>> {
        Ok(Vec::new())
    }
}

const RASPIOS_FSTAB: &str =
    "PARTUUID=1-01  /boot/firmware  vfat  defaults  0  2\nPARTUUID=1-02  /  ext4  defaults,noatime  0  1\n";

fn trixie() -> (Made, Made) {
    let boot = Made::new("bootfs")
        .file("/config.txt", "[cm4]\nos_prefix=x/\n[all]\narm_64bit=1\n")
        .file("/cmdline.txt", "root=PARTUUID=1-02 resize\n")
        .file("/user-data", "#cloud-config\n# hostname: raspberrypi\n")
        .file("/meta-data", "dsmode: local\ninstance_id: rpios-image\n")
        .file("/network-config", "# comments\n");
    let root = Made::new("rootfs")
        .link("/etc/os-release", "../usr/lib/os-release")
        .file(
            "/usr/lib/os-release",
            "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\nVERSION_ID=\"13\"\nVERSION_CODENAME=trixie\n",
        )
        .file("/etc/fstab", RASPIOS_FSTAB)
        .file("/etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\traspberrypi\n")
        .link("/bin", "usr/bin")
        .elf("/usr/bin/dpkg", 1, [183, 0])
        .file("/usr/bin/cloud-init", "#!/usr/bin/python3\n")
        .file("/etc/cloud/cloud.cfg", "datasource_list: [NoCloud, None]\n")
        .file(
            "/etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg",
            "datasource:\n  NoCloud:\n    seedfrom: file:///boot/firmware\n",
        )
        .file(
            "/var/lib/dpkg/status",
            "Package: bash\nVersion: 5\n\nPackage: cloud-init\nStatus: install ok installed\nVersion: 25.2-1~bpo13+1+rpt20\n\nPackage: zsh\nVersion: 1\n",
        )
        .file("/usr/sbin/NetworkManager", "x")
        .link(
            "/etc/systemd/system/multi-user.target.wants/NetworkManager.service",
            "/usr/lib/systemd/system/NetworkManager.service",
        );
    (boot, root)
}

fn facts((boot, root): (Made, Made)) -> BaseFacts {
    probe(&boot, &root).expect("probed")
}

#[test]
fn raspberry_pi_os_trixie_is_known() {
    let facts = facts(trixie());
    assert_eq!(
        (facts.id.as_str(), facts.version_codename.as_str(), facts.arch),
        ("debian", "trixie", Some(Arch::Arm64))
    );
    assert_eq!(facts.boot_mount, "/boot/firmware");
    assert_eq!(facts.cmdline_path.as_deref(), Some("/cmdline.txt"));
    assert_eq!(facts.network, NetworkManager::NetworkManager);
    assert_eq!(
        (facts.root_label.as_str(), facts.boot_label.as_str()),
        ("rootfs", "bootfs")
    );
    let cloud = facts.cloud_init.expect("cloud-init");
    assert_eq!(cloud.version.as_deref(), Some("25.2-1~bpo13+1+rpt20"));
    assert_eq!(cloud.seed, Some(Seed::Boot { dir: "/".to_owned() }));
}

// rows: F032
#[test]
fn ubuntu_has_its_command_line_below_current_and_its_seed_by_label() {
    let boot = Made::new("system-boot")
        .file(
            "/config.txt",
            "[all]\nos_prefix=current/\n[tryboot]\nos_prefix=new/\n",
        )
        .file("/cmdline.txt", "ignored\n")
        .file("/current/cmdline.txt", "root=LABEL=writable\n")
        .file("/user-data", "#cloud-config\nssh_pwauth: false\n");
    let root = Made::new("writable")
        .file("/etc/os-release", "ID=ubuntu\nVERSION_CODENAME=questing\n")
        .file(
            "/etc/fstab",
            "LABEL=writable / ext4 defaults 0 1\nLABEL=system-boot /boot/firmware vfat defaults 0 1\n",
        )
        .elf("/bin/sh", 1, [183, 0])
        .file("/usr/bin/cloud-init", "x")
        .file(
            "/etc/cloud/cloud.cfg.d/99-fake-cloud.cfg",
            "datasource_list: [NoCloud, None]\ndatasource: {NoCloud: {fs_label: system-boot}}\n# seedfrom: file:///nowhere\n",
        );
    let facts = facts((boot, root));
    assert_eq!(facts.cmdline_path.as_deref(), Some("/current/cmdline.txt"));
    assert_eq!(facts.arch, Some(Arch::Arm64));
    let cloud = facts.cloud_init.expect("cloud-init");
    assert_eq!(
        (cloud.seed, cloud.version),
        (Some(Seed::Boot { dir: "/".to_owned() }), None)
    );
}

fn hypriot(version: &str) -> (Made, Made) {
    let boot = Made::new("HypriotOS")
        .file("/cmdline.txt", "root=/dev/mmcblk0p2\n")
        .file(
            "/user-data",
            "#cloud-config\nhostname: black-pearl\nmanage_etc_hosts: true\n",
        )
        .file("/meta-data", "instance-id: iid-pirate001\n");
    let root = Made::new("root")
        .file("/etc/os-release", "ID=raspbian\nVERSION_CODENAME=stretch\n")
        .file("/etc/fstab", "/dev/mmcblk0p1 /boot vfat defaults 0 0\n")
        .elf("/usr/bin/dpkg", 1, [40, 0])
        .file("/usr/bin/cloud-init", "x")
        .file(
            "/var/lib/dpkg/status",
            &format!("Package: cloud-init\nVersion: {version}\n"),
        )
        .link("/var/lib/cloud/seed/nocloud-net/user-data", "/boot/user-data")
        .link("/var/lib/cloud/seed/nocloud-net/meta-data", "/boot/meta-data");
    (boot, root)
}

#[test]
fn hypriot_links_its_seed() {
    let facts = facts(hypriot("0.7.9-2"));
    assert_eq!(
        (facts.boot_mount.as_str(), facts.arch),
        ("/boot", Some(Arch::Armhf))
    );
    let cloud = facts.cloud_init.expect("cloud-init");
    assert_eq!(
        cloud.seed,
        Some(Seed::Links {
            network_config: false
        })
    );
}

#[test]
fn an_empty_image_is_no_error() {
    let facts = facts((Made::new(""), Made::new("").link("/etc", "/etc")));
    assert_eq!(
        (facts.arch, facts.cmdline_path, facts.cloud_init),
        (None, None, None)
    );
    assert_eq!(
        (facts.boot_mount.as_str(), facts.network),
        ("/boot", NetworkManager::Unknown)
    );
}

#[test]
fn the_processor_is_read_in_either_byte_order() {
    for (order, machine, arch) in [
        (1, [62, 0], Some(Arch::Amd64)),
        (2, [0, 183], Some(Arch::Arm64)),
        (1, [3, 0], None),
        (7, [183, 0], None),
    ] {
        let root = Made::new("").elf("/usr/bin/dpkg", order, machine);
        assert_eq!(facts((Made::new(""), root)).arch, arch, "{order} {machine:?}");
    }
    let root = Made::new("").file("/usr/bin/dpkg", "\x7fELF");
    assert_eq!(facts((Made::new(""), root)).arch, None, "a cut file");
}

fn plan(fixed: bool, edits: Vec<Edit>) -> NodePlan {
    let origin = Origin {
        file: "cluster.yaml".to_owned(),
        line: 3,
    };
    NodePlan {
        cluster: "ceil".to_owned(),
        node: "one".to_owned(),
        role: "helper",
        programs: Vec::new(),
        profile: "p".to_owned(),
        origin: origin.clone(),
        base: BaseRef {
            place: BasePlace::Name("b".to_owned()),
            sha256: None,
            sha512: None,
            raw_sha256: None,
            checksum_url: None,
            origin,
        },
        edits,
        wishes: crate::plan::Wishes::default(),
        identity: Identity {
            hostname: "one".parse().expect("hostname"),
            domain: None,
            instance_id: "ceil-one-0123456789ab".to_owned(),
            address: if fixed {
                Address::Static(StaticAddress {
                    interface: "eth0".to_owned(),
                    ip: "10.11.0.101".parse().expect("ip"),
                    prefix: 24,
                    gateway: "10.11.0.1".parse().ok(),
                    dns: vec!["9.9.9.9".parse().expect("ip")],
                })
            } else {
                Address::Dhcp
            },
        },
        reserve: ByteSize(0),
        epoch: Timestamp::from_secs(0),
        output: OutputFormat::Img,
        digest: Digest::sha256(b""),
    }
}

/// Whether an edit says which node the card is of: every image has that.
fn is_record(edit: &Edit) -> bool {
    matches!(&edit.op, Op::Put { at, .. } if at.to_string() == "boot:/ceil-card.json")
}

/// Paths and texts of all files that are put or appended to, but for the record.
fn texts(resolved: &Resolved) -> Vec<(String, String)> {
    resolved
        .edits
        .iter()
        .filter(|edit| !is_record(edit))
        .map(|edit| match &edit.op {
            Op::Put {
                at,
                content: Content::Inline { bytes, .. },
                ..
            }
            | Op::Append {
                at,
                content: Content::Inline { bytes, .. },
            } => (at.to_string(), show(bytes)),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn trixie_gets_a_seed_and_baked_files() {
    let resolved = identity_edits(&plan(true, Vec::new()), &facts(trixie())).expect("resolved");
    let expected = [
        ("root:/etc/hostname", "one\n"),
        ("root:/etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\tone\n"),
        (
            "boot:/meta-data",
            "dsmode: local\ninstance-id: ceil-one-0123456789ab\nlocal-hostname: \"one\"\n",
        ),
        (
            "boot:/user-data",
            "#cloud-config\nhostname: \"one\"\npreserve_hostname: false\nmanage_etc_hosts: false\n",
        ),
        (
            "boot:/network-config",
            "version: 2\nethernets:\n  eth0:\n    dhcp4: false\n    addresses: [\"10.11.0.101/24\"]\n    routes: [{to: \"0.0.0.0/0\", via: \"10.11.0.1\"}]\n    nameservers: {addresses: [\"9.9.9.9\"]}\n    optional: true\n",
        ),
    ]
    .map(|(path, text)| (path.to_owned(), text.to_owned()));
    assert_eq!(texts(&resolved), expected);
    assert_eq!(
        resolved.notes,
        [
            "host name and instance id go to cloud-init (version 25.2-1~bpo13+1+rpt20), which reads its seed from the boot volume, and are baked into the root volume too",
            "the address goes to cloud-init as network-config version 2",
        ]
    );
}

#[test]
fn the_boot_volume_says_which_node_it_is() {
    let plan = plan(false, Vec::new());
    for base in [facts(trixie()), facts(hypriot("0.7.9-2"))] {
        let resolved = identity_edits(&plan, &base).expect("resolved");
        let record: Vec<&Edit> = resolved.edits.iter().filter(|edit| is_record(edit)).collect();
        let [edit] = record[..] else {
            panic!("{record:?}");
        };
        let Op::Put {
            content: Content::Inline { bytes, secret, .. },
            ..
        } = &edit.op
        else {
            panic!("{edit:?}");
        };
        let said: serde_json::Value = serde_json::from_slice(bytes).expect("JSON");
        assert_eq!(said["cluster"], plan.cluster.as_str());
        assert_eq!(said["node"], plan.node.as_str());
        assert_eq!(said["plan"], plan.digest.to_string());
        assert!(!secret);
    }
}

#[test]
fn dhcp_leaves_the_network_to_the_base() {
    let resolved = identity_edits(&plan(false, Vec::new()), &facts(trixie())).expect("resolved");
    let paths: Vec<String> = texts(&resolved).into_iter().map(|(path, _)| path).collect();
    assert_eq!(
        paths,
        [
            "root:/etc/hostname",
            "root:/etc/hosts",
            "boot:/meta-data",
            "boot:/user-data"
        ]
    );
}

#[test]
fn hypriot_keeps_its_user_data_and_gets_version_one() {
    let resolved = identity_edits(&plan(true, Vec::new()), &facts(hypriot("0.7.9-2"))).expect("resolved");
    let texts = texts(&resolved);
    assert_eq!(
        texts[3],
        (
            "boot:/user-data".to_owned(),
            "#cloud-config\nmanage_etc_hosts: true\nhostname: \"one\"\npreserve_hostname: false\n".to_owned()
        )
    );
    assert_eq!(texts[4].0, "root:/var/lib/cloud/seed/nocloud-net/network-config");
    assert!(texts[4].1.starts_with("version: 1\n"), "{}", texts[4].1);
    assert_eq!(
        identity_edits(&plan(true, Vec::new()), &facts(hypriot("0.7.6~bzr976-2"))),
        Err("cloud-init 0.7.6~bzr976-2 of this base cannot set a fixed address; use `address: dhcp` with a reservation, or a base with cloud-init 0.7.9 or later".to_owned())
    );
}

#[test]
fn without_cloud_init_the_address_goes_to_whoever_sets_up_interfaces() {
    let bare = || facts((Made::new("bootfs"), Made::new("rootfs")));
    for (manager, path, text) in [
        (
            NetworkManager::NetworkManager,
            "root:/etc/NetworkManager/system-connections/ceil-eth0.nmconnection",
            "[connection]\nid=ceil-eth0\ntype=ethernet\ninterface-name=eth0\nautoconnect-priority=100\n\n[ipv4]\nmethod=manual\naddress1=10.11.0.101/24,10.11.0.1\ndns=9.9.9.9;\n\n[ipv6]\nmethod=auto\n",
        ),
        (
            NetworkManager::Networkd,
            "root:/etc/systemd/network/10-ceil-eth0.network",
            "[Match]\nName=eth0\n\n[Network]\nAddress=10.11.0.101/24\nGateway=10.11.0.1\nDNS=9.9.9.9\n",
        ),
        (
            NetworkManager::Dhcpcd,
            "root:/etc/dhcpcd.conf",
            "\ninterface eth0\nstatic ip_address=10.11.0.101/24\nstatic routers=10.11.0.1\nstatic domain_name_servers=9.9.9.9\n",
        ),
    ] {
        let mut facts = bare();
        facts.network = manager;
        let resolved = identity_edits(&plan(true, Vec::new()), &facts).expect("resolved");
        assert_eq!(texts(&resolved)[2], (path.to_owned(), text.to_owned()));
    }
    assert_eq!(
        identity_edits(&plan(true, Vec::new()), &bare()).expect_err("refused"),
        "no way to set a fixed address on this base is known; supported are cloud-init with a seed on the boot volume, NetworkManager, systemd-networkd and dhcpcd; use `address: dhcp` with a reservation or with network files among the edits"
    );
}

#[test]
fn the_nodes_own_edits_win() {
    let put = |path: &str| Edit {
        op: Op::Put {
            at: path.parse().expect("path"),
            content: Content::inline(b"mine"),
            attributes: crate::plan::Attributes::default(),
            xattrs: Vec::new(),
            sparse: false,
        },
        origin: Origin {
            file: "p.yaml".to_owned(),
            line: 1,
        },
    };
    let own = vec![
        put("/boot/firmware/user-data"),
        put("/etc/hostname"),
        put("boot:/META-DATA"),
    ];
    let resolved = identity_edits(&plan(false, own), &facts(trixie())).expect("resolved");
    let paths: Vec<String> = texts(&resolved).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["root:/etc/hosts"]);
    assert!(
        resolved
            .notes
            .contains(&"`boot:/user-data` is put by the node's own edits and left to them".to_owned())
    );
}
