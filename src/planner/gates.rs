//! The facts that the gates ask for, from the cluster file and from what is known of a base.

use std::collections::BTreeMap;

use crate::base_os::{BaseFacts, Seed, cgroup_generation};
use crate::board::Cpu;
use crate::flavour::gates::{self, Base, CgroupVersion, Facts, Os, Runtime, System, Version};
use crate::plan::{Content, Finding, Op, Origin};
use crate::spec::{ClusterSpec, EditSpec, Inputs, Payload, Wish};
use crate::values::{Arch, ByteSize, VolumeName};

use super::PlanError;
use super::kubernetes::{flavour_of, node, options, version};
use super::view::View;

/// What a catalog says of a base that nobody has opened yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Who made it.
    pub os: Os,
    /// Name of the release, such as `trixie`; empty when not known.
    pub codename: String,
    /// Where the FAT partition is mounted.
    pub boot_mount: String,
    /// Architecture.
    pub arch: Arch,
}

/// What is asked of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    /// A node of Kubernetes.
    Node(Box<Facts>),
    /// Any other.
    Plain(System, Base),
}

/// One node before the gates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// Its name.
    pub node: String,
    origin: Origin,
    accept: Vec<String>,
    arch: Option<Arch>,
    /// What the kernel command line asks for.
    cgroup: Option<CgroupVersion>,
    subject: Subject,
}

impl Gate {
    /// Architecture of its programs, where that is known.
    #[must_use]
    pub const fn arch(&self) -> Option<Arch> {
        self.arch
    }

    /// What the gates say from the cluster file and the catalog. What the node accepts is left out.
    #[must_use]
    pub fn check(&self) -> Vec<Finding> {
        let mut found = match &self.subject {
            Subject::Node(facts) => gates::check(facts, &self.origin),
            Subject::Plain(system, base) => gates::check_system(system, base, &self.origin),
        };
        found.retain(|finding| !self.accept.iter().any(|id| id == finding.id));
        found
    }

    /// What they say besides, now that the base is open.
    #[must_use]
    pub fn check_opened(&self, facts: &BaseFacts) -> Vec<Finding> {
        let mut opened = self.clone();
        let mut base = opened_base(facts);
        base.cgroup = self.cgroup.or(base.cgroup);
        match &mut opened.subject {
            Subject::Node(node) => {
                node.arch = facts.arch.or(node.arch);
                node.runtime = runtime(&node.packages, &base);
                node.base = base;
            }
            Subject::Plain(_, of) => *of = base,
        }
        let before = self.check();
        let mut found = opened.check();
        found.retain(|finding| !before.contains(finding));
        found
    }
}

/// Every node of the cluster file before the gates. `release` tells what is known of a node's base.
///
/// # Errors
/// [`PlanError`]: a version, a taint or a life of a token that is none.
pub fn of(
    cluster: &ClusterSpec,
    inputs: &Inputs,
    views: &[View<'_>],
    release: &dyn Fn(&View<'_>) -> Option<Release>,
) -> Result<Vec<Gate>, PlanError> {
    views
        .iter()
        .map(|view| {
            let release = release(view);
            let settings = &view.resolved.settings;
            let arch = settings
                .arch
                .as_ref()
                .map(|a| a.value)
                .or(release.as_ref().map(|r| r.arch));
            Ok(Gate {
                node: view.spec.name.to_string(),
                origin: view.spec.origin.clone(),
                accept: settings.accept.clone(),
                arch,
                cgroup: told_cgroup(&view.resolved.edits),
                subject: subject(cluster, inputs, views, view, release.as_ref(), arch)?,
            })
        })
        .collect()
}

fn subject(
    cluster: &ClusterSpec,
    inputs: &Inputs,
    views: &[View<'_>],
    view: &View<'_>,
    release: Option<&Release>,
    arch: Option<Arch>,
) -> Result<Subject, PlanError> {
    let settings = &view.resolved.settings;
    let mut base = release.map_or_else(
        || released(Os::Other, ""),
        |r| Base {
            boot_mount: Some(r.boot_mount.clone()),
            ..released(r.os, &r.codename)
        },
    );
    base.cgroup = told_cgroup(&view.resolved.edits).or(base.cgroup);
    let system = system(&view.resolved.edits);
    let known = flavour_of(cluster).filter(|_| view.role().in_cluster());
    let (Some((kubernetes, flavour)), Some(version)) = (known, version(cluster)?) else {
        return Ok(Subject::Plain(system, base));
    };
    let peers = view.peers(views);
    let node = node(cluster, view, &peers)?;
    let manifests: Vec<&str> = if view.is_first_server(&peers) {
        settings
            .addons
            .iter()
            .filter_map(|name| Some(inputs.addons.get(&name.value)?.text.as_str()))
            .collect()
    } else {
        Vec::new()
    };
    let board = settings.board.as_ref();
    let packages = settings.packages.clone();
    let has = |name: &str| packages.iter().any(|p| package(p).0 == name);
    Ok(Subject::Node(Box::new(Facts {
        version,
        flavour,
        role: node.role,
        arch,
        armv6: board.is_some_and(|b| b.model.cpu == Cpu::Armv6),
        ram: board.map(|b| ByteSize(u64::from(b.memory()) << 20)),
        runtime: runtime(&packages, &base),
        swap: node.kubelet.swap,
        allow_cgroup_v1: node.kubelet.allow_cgroup_v1
            || node
                .kubelet
                .flags
                .get("fail-cgroup-v1")
                .is_some_and(|v| v == "false"),
        vxlan: kubernetes.cni.as_ref().is_none_or(|cni| cni.value == "flannel"),
        trimmed: !kubernetes.disable.is_empty(),
        ignore_preflight: options(cluster, inputs, view)?.ignore_preflight,
        k3s_armhf: None,
        kubernetes_from_apt: has("kubelet") || has("kubeadm"),
        gluster_in_tree: manifests
            .iter()
            .any(|text| text.lines().any(|line| line.trim() == "glusterfs:")),
        manifest_kinds: manifests.iter().flat_map(|text| kinds(text)).collect(),
        packages,
        system,
        base,
    })))
}

/// Name and version of a package as apt is told it: `docker-ce=5:18.06.3~ce~3-0~raspbian`.
fn package(text: &str) -> (&str, Option<&str>) {
    match text.split_once('=') {
        Some((name, version)) => (name, Some(version.rsplit_once(':').map_or(version, |(_, v)| v))),
        None => (text, None),
    }
}

/// Docker where a package with a version or the base brings it; else containerd.
fn runtime(packages: &[String], base: &Base) -> Runtime {
    let named = packages.iter().find_map(|text| match package(text) {
        ("docker-ce" | "docker.io", Some(version)) => version.parse().ok(),
        _ => None,
    });
    // HypriotOS 1.9 and 1.10 are of stretch and have 18.04 to 18.06.
    let own = (base.os == Os::HypriotOs && base.debian == Some(9)).then_some(Version(18, 6, 0));
    named.or(own).map_or(Runtime::Containerd, Runtime::Docker)
}

/// `group/version Kind` of each document of a manifest, template or not.
fn kinds(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for document in text.split("\n---") {
        let value = |key: &str| {
            document
                .lines()
                .find_map(|line| line.strip_prefix(key))
                .map(|value| value.trim().trim_matches(['"', '\'']))
        };
        if let (Some(version), Some(kind)) = (value("apiVersion:"), value("kind:")) {
            found.push(format!("{version} {kind}"));
        }
    }
    found
}

/// What the edits tell the first boot.
fn system(edits: &[EditSpec]) -> System {
    let mut system = System::default();
    for edit in edits {
        let Wish::Put { at, payload, .. } = &edit.wish else {
            continue;
        };
        if at.volume != Some(VolumeName::Boot) {
            continue;
        }
        let text = match payload {
            Payload::Inline(Content::Inline { bytes, .. }) => String::from_utf8_lossy(bytes),
            _ => "".into(),
        };
        let keys: BTreeMap<&str, &str> = text
            .lines()
            .filter(|line| line.starts_with(|c: char| c.is_ascii_alphabetic()))
            .filter_map(|line| line.split_once(':'))
            .collect();
        match at.path() {
            "/wpa_supplicant.conf" => system.wpa_supplicant_conf = true,
            "/user-data" => system.user_data_keys = keys.into_keys().map(str::to_owned).collect(),
            "/network-config" => {
                system.network_config = keys.get("version").and_then(|v| v.trim().parse().ok());
            }
            _ => {}
        }
    }
    system
}

/// The generation of control groups that words of the kernel command line ask for.
fn told_cgroup(edits: &[EditSpec]) -> Option<CgroupVersion> {
    edits.iter().rev().find_map(|edit| match &edit.wish {
        Wish::Op(Op::KernelArgs { add, .. }) => add.iter().rev().find_map(|word| {
            match word.strip_prefix("systemd.unified_cgroup_hierarchy=")? {
                "0" | "false" | "no" => Some(CgroupVersion::V1),
                _ => Some(CgroupVersion::V2),
            }
        }),
        _ => None,
    })
}

/// Releases of Debian by number.
const DEBIAN: [(u32, &str); 7] = [
    (8, "jessie"),
    (9, "stretch"),
    (10, "buster"),
    (11, "bullseye"),
    (12, "bookworm"),
    (13, "trixie"),
    (14, "forky"),
];

/// What a release is known to have.
fn released(os: Os, codename: &str) -> Base {
    let debian = DEBIAN
        .iter()
        .find(|(_, name)| *name == codename)
        .map(|(number, _)| *number);
    let ubuntu = match codename {
        "xenial" => Some(Version(16, 4, 0)),
        "bionic" => Some(Version(18, 4, 0)),
        "focal" => Some(Version(20, 4, 0)),
        "groovy" => Some(Version(20, 10, 0)),
        "hirsute" => Some(Version(21, 4, 0)),
        "impish" => Some(Version(21, 10, 0)),
        "jammy" => Some(Version(22, 4, 0)),
        "kinetic" => Some(Version(22, 10, 0)),
        "lunar" => Some(Version(23, 4, 0)),
        "mantic" => Some(Version(23, 10, 0)),
        "noble" => Some(Version(24, 4, 0)),
        "oracular" => Some(Version(24, 10, 0)),
        "plucky" => Some(Version(25, 4, 0)),
        "questing" => Some(Version(25, 10, 0)),
        "resolute" => Some(Version(26, 4, 0)),
        _ => None,
    };
    let raspberry = matches!(os, Os::RaspberryPiOs | Os::HypriotOs);
    Base {
        os,
        debian,
        ubuntu,
        kernel: None,
        cgroup: cgroup_generation(codename).map(generation),
        // The kernels of the Raspberry Pi got the controller after 4.14 (P03).
        pids: (raspberry && debian.is_some_and(|d| d <= 9)).then_some(false),
        cloud_init: None,
        boot_mount: None,
    }
}

const fn generation(number: u8) -> CgroupVersion {
    if number == 1 {
        CgroupVersion::V1
    } else {
        CgroupVersion::V2
    }
}

/// What an opened base is known to have.
fn opened_base(facts: &BaseFacts) -> Base {
    let kernel = facts
        .system
        .kernels
        .iter()
        .filter_map(|kernel| kernel.release.parse::<Version>().ok())
        .max();
    let cloud_init = facts.cloud_init.as_ref();
    let links = cloud_init.is_some_and(|c| matches!(c.seed, Some(Seed::Links { .. })));
    let os = match facts.id.as_str() {
        _ if links => Os::HypriotOs,
        "raspbian" => Os::RaspberryPiOs,
        // The 64-bit one calls itself Debian, and asks for a user as Debian does not.
        "debian" if facts.system.userconf || facts.system.preseed => Os::RaspberryPiOs,
        "debian" => Os::Debian,
        "ubuntu" => Os::Ubuntu,
        _ => Os::Other,
    };
    // Debian gives its code name in os-release since buster.
    let numbered = || {
        let number: u32 = facts.version_id.parse().ok()?;
        DEBIAN.iter().find(|(n, _)| *n == number).map(|(_, name)| *name)
    };
    let codename = match facts.version_codename.as_str() {
        "" if os != Os::Ubuntu => numbered().unwrap_or_default(),
        name => name,
    };
    let release = released(os, codename);
    Base {
        pids: match kernel {
            Some(kernel) if kernel >= Version(4, 19, 0) => Some(true),
            _ => release.pids,
        },
        kernel,
        cloud_init: cloud_init
            .and_then(|c| c.version.as_deref())
            .and_then(|v| v.parse().ok()),
        boot_mount: Some(facts.boot_mount.clone()),
        ..release
    }
}
