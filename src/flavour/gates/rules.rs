use super::{Base, CgroupVersion, Facts, Os, Runtime, System, Version};
use crate::cloud_config;
use crate::flavour::{Flavour, SwapUse};
use crate::plan::{Finding, Origin, Severity};
use crate::values::{Arch, ByteSize};

/// What kubeadm asks of a server, in bytes (its preflight check `Mem`).
const KUBEADM_SERVER_RAM: u64 = 1_700_000_000;
/// What a server of k3s takes under load, in bytes; measured 1.2 to 1.6 GB.
const K3S_SERVER_RAM: u64 = 1_700_000_000;
/// Below this a node of any kind has no room for pods, in bytes; an agent itself takes 268 MB.
const NODE_RAM: u64 = 450_000_000;
/// Last minor whose own packages are signed in the old way only, as far as seen.
const OLD_SIGNATURES_UNTIL: u32 = 30;
/// Last minor seen to look for the memory controller in `/proc/cgroups`.
const PROC_CGROUPS_UNTIL: u32 = 25;

/// Kinds that went away: group and version, kind (any when empty), minor from which it is gone, what is there instead.
const GONE: [(&str, &str, u32, &str); 6] = [
    ("extensions/v1beta1", "Ingress", 22, "networking.k8s.io/v1"),
    (
        "extensions/v1beta1",
        "",
        16,
        "apps/v1, networking.k8s.io/v1 or policy/v1",
    ),
    ("apps/v1beta1", "", 16, "apps/v1"),
    ("apps/v1beta2", "", 16, "apps/v1"),
    ("networking.k8s.io/v1beta1", "", 22, "networking.k8s.io/v1"),
    (
        "rbac.authorization.k8s.io/v1beta1",
        "",
        22,
        "rbac.authorization.k8s.io/v1",
    ),
];

/// Newest Docker that kubeadm was validated with, by minor of Kubernetes. Up to 1.11 a newer one is refused by its
/// preflight check, later it is a warning. Source: Kubernetes' changelogs, "external dependencies".
const DOCKER: [(u32, u32, Version); 5] = [
    (0, 11, Version(17, 3, u32::MAX)),
    (12, 13, Version(18, 6, u32::MAX)),
    (14, 16, Version(18, 9, u32::MAX)),
    (17, 19, Version(19, 3, u32::MAX)),
    (20, 23, Version(20, 10, u32::MAX)),
];

/// Oldest kernel that is known to carry a pair of Kubernetes and Docker: first and last minor, first Docker, kernel.
const KERNELS: [(u32, u32, Version, Version); 1] = [(12, 13, Version(18, 6, 0), Version(4, 14, 73))];

/// Collects findings about one node.
struct Found<'a> {
    origin: &'a Origin,
    all: Vec<Finding>,
}

/// Everything that the gates have to say about a node of Kubernetes that stands at `origin`, in the order of their
/// names.
#[must_use]
pub fn check(facts: &Facts, origin: &Origin) -> Vec<Finding> {
    const BEFORE: [fn(&Facts, &mut Found<'_>); 8] = [g1, g2, g3, g4, g5, g6, g7, g8];
    const AFTER: [fn(&Facts, &mut Found<'_>); 4] = [g12, p12, p44, p65];
    let mut found = Found {
        origin,
        all: Vec::new(),
    };
    for gate in BEFORE {
        gate(facts, &mut found);
    }
    g9(&facts.system, &facts.base, &mut found);
    g10(facts, &mut found);
    g11(&facts.system, &facts.base, &mut found);
    for gate in AFTER {
        gate(facts, &mut found);
    }
    found.all
}

/// What the gates have to say about any other node.
#[must_use]
pub fn check_system(system: &System, base: &Base, origin: &Origin) -> Vec<Finding> {
    let mut found = Found {
        origin,
        all: Vec::new(),
    };
    g9(system, base, &mut found);
    g11(system, base, &mut found);
    found.all
}

fn say(
    found: &mut Found<'_>,
    id: &'static str,
    severity: Severity,
    message: String,
    remedy: impl Into<String>,
) {
    found.all.push(Finding {
        id,
        severity,
        origin: found.origin.clone(),
        message,
        remedy: remedy.into(),
    });
}

fn error(found: &mut Found<'_>, id: &'static str, message: String, remedy: impl Into<String>) {
    say(found, id, Severity::Error, message, remedy);
}

fn warn(found: &mut Found<'_>, id: &'static str, message: String, remedy: impl Into<String>) {
    say(found, id, Severity::Warning, message, remedy);
}

/// 32-bit ARM.
fn g1(facts: &Facts, found: &mut Found<'_>) {
    let version = &facts.version;
    if facts.armv6 {
        let sentence = format!("Kubernetes {version} has no programs for the ARMv6 processor of the board");
        error(found, "G1", sentence, "use a Pi 2 or later");
        return;
    }
    if facts.arch != Some(Arch::Armhf) {
        return;
    }
    match facts.flavour {
        Flavour::K3s if facts.k3s_armhf == Some(false) => error(
            found,
            "G1",
            format!("the release {version} of k3s has no program for 32-bit ARM"),
            "use a 64-bit base, or a release with the file `k3s-armhf`",
        ),
        Flavour::Kubeadm if version.at_least(27) => error(
            found,
            "G1",
            format!("kubeadm and kubelet {version} do not exist for 32-bit ARM, which ended with 1.26"),
            "use a 64-bit base, Kubernetes 1.26, or k3s",
        ),
        _ => {}
    }
}

/// The `pids` controller.
fn g2(facts: &Facts, found: &mut Found<'_>) {
    if facts.version.at_least(14) && facts.base.pids == Some(false) {
        error(
            found,
            "G2",
            format!(
                "the kernel of the base lacks the pids controller, which Kubernetes {} needs",
                facts.version
            ),
            "use a newer base, or Kubernetes 1.13; no kernel word adds a controller",
        );
    }
}

/// The dockershim. k3s kept Docker by an adapter of its own.
fn g3(facts: &Facts, found: &mut Found<'_>) {
    let docker = matches!(facts.runtime, Runtime::Docker(_));
    if docker && facts.flavour == Flavour::Kubeadm && facts.version.at_least(24) {
        error(
            found,
            "G3",
            format!(
                "the kubelet of {} cannot use Docker by itself any more",
                facts.version
            ),
            "use containerd, or Kubernetes 1.23",
        );
    }
}

/// Kernels without the first generation's memory controller.
fn g4(facts: &Facts, found: &mut Found<'_>) {
    if let Some(kernel) = facts.base.kernel
        && kernel >= Version(6, 12, 0)
        && !facts.version.at_least(PROC_CGROUPS_UNTIL + 1)
    {
        error(
            found,
            "G4",
            format!(
                "Kubernetes {} looks for the memory controller in /proc/cgroups, where kernel {kernel} does not list it",
                facts.version
            ),
            format!(
                "use Kubernetes 1.{} or later, or a base with a kernel before 6.12",
                PROC_CGROUPS_UNTIL + 1
            ),
        );
    }
}

/// cgroup v1, and swap for pods.
fn g5(facts: &Facts, found: &mut Found<'_>) {
    if facts.base.cgroup != Some(CgroupVersion::V1) {
        return;
    }
    let version = &facts.version;
    if version.at_least(35) && !facts.allow_cgroup_v1 {
        error(
            found,
            "G5",
            format!("the kubelet of {version} does not start on cgroup v1"),
            "use a base with cgroup v2 (Debian 11 or later), Kubernetes 1.34, or allow cgroup v1 for the kubelet",
        );
    } else if version.at_least(35) {
        warn(
            found,
            "G5",
            format!("Kubernetes {version} runs on cgroup v1 by exception only"),
            "plan to move to a base with cgroup v2",
        );
    }
    if facts.swap == SwapUse::Limited {
        error(
            found,
            "G5",
            "pods get swap on cgroup v2 only, and the base has cgroup v1".to_owned(),
            "turn swap off, or use a base with cgroup v2",
        );
    }
}

/// Memory.
fn g6(facts: &Facts, found: &mut Found<'_>) {
    let Some(ByteSize(ram)) = facts.ram else { return };
    let size = ByteSize(ram);
    if ram < NODE_RAM {
        error(
            found,
            "G6",
            format!("a board of {size} has no room for a node"),
            "use a board of 512 MiB at least, 1 GiB for pods of any size",
        );
        return;
    }
    if !facts.role.is_server() {
        return;
    }
    match facts.flavour {
        Flavour::Kubeadm if ram < KUBEADM_SERVER_RAM => {
            let remedy = "use a board of 2 GiB for the control plane, or name `Mem` among the preflight checks that may fail";
            let sentence = format!("kubeadm wants 1700 MB for a server, and the board has {size}");
            if facts
                .ignore_preflight
                .iter()
                .any(|name| name.eq_ignore_ascii_case("mem"))
            {
                warn(
                    found,
                    "G6",
                    sentence,
                    "expect a slow API, and keep pods off the server",
                );
            } else {
                error(found, "G6", sentence, remedy);
            }
        }
        Flavour::K3s if ram < K3S_SERVER_RAM => {
            let sentence =
                format!("a server of k3s takes 1.2 to 1.6 GB under load, and the board has {size}");
            if facts.trimmed {
                warn(found, "G6", sentence, "keep pods off the server");
            } else {
                warn(
                    found,
                    "G6",
                    sentence,
                    "leave parts out (`disable: [traefik, servicelb, metrics-server]`), or use a board of 2 GiB",
                );
            }
        }
        _ => {}
    }
}

/// Signatures of package repositories.
fn g7(facts: &Facts, found: &mut Found<'_>) {
    let trixie = facts.base.debian.is_some_and(|debian| debian >= 13);
    if trixie && facts.kubernetes_from_apt && !facts.version.at_least(OLD_SIGNATURES_UNTIL + 1) {
        error(
            found,
            "G7",
            format!(
                "apt of Debian 13 refuses the signatures of the repository of Kubernetes {} since 2026-02-01",
                facts.version
            ),
            format!(
                "use the programs of the release instead of packages, Kubernetes 1.{} or later, or Debian 12",
                OLD_SIGNATURES_UNTIL + 1
            ),
        );
    }
}

/// What went away from the API.
fn g8(facts: &Facts, found: &mut Found<'_>) {
    let version = &facts.version;
    if facts.gluster_in_tree && version.at_least(26) {
        error(
            found,
            "G8",
            format!("Kubernetes {version} has no volumes of the kind `glusterfs`"),
            "use a CSI driver or NFS, or Kubernetes 1.25",
        );
    }
    for used in &facts.manifest_kinds {
        let (group, kind) = used.split_once(' ').unwrap_or((used, ""));
        let gone = GONE
            .iter()
            .find(|(g, k, ..)| *g == group && (k.is_empty() || *k == kind));
        if let Some((_, _, minor, instead)) = gone
            && version.at_least(*minor)
        {
            error(
                found,
                "G8",
                format!("`{used}` is gone since Kubernetes 1.{minor}"),
                format!("write it for {instead}"),
            );
        }
    }
}

/// Old cloud-init.
fn g9(system: &System, base: &Base, found: &mut Found<'_>) {
    let Some(version) = base.cloud_init else {
        return;
    };
    if version >= Version(17, 1, 0) {
        return;
    }
    if let Some(form) = system.network_config {
        if version < Version(0, 7, 7) {
            error(
                found,
                "G9",
                format!("cloud-init {version} does not set up networks"),
                "let the base keep its own network set-up",
            );
        } else if form > 1 {
            error(
                found,
                "G9",
                format!("cloud-init {version} reads network configuration of version 1 only, not {form}"),
                "use version 1, or a base with cloud-init 17.1 or later",
            );
        }
    }
    for key in &system.user_data_keys {
        if !cloud_config::old_reads(key) {
            error(
                found,
                "G9",
                format!("cloud-init {version} does not know `{key}`"),
                "leave it out, or use `write_files` and `runcmd`",
            );
        }
    }
}

/// New Docker on 32-bit ARM.
fn g10(facts: &Facts, found: &mut Found<'_>) {
    let Runtime::Docker(docker) = facts.runtime else {
        return;
    };
    if docker < Version(29, 0, 0) || facts.arch != Some(Arch::Armhf) {
        return;
    }
    if facts.base.os != Os::Debian {
        error(
            found,
            "G10",
            format!("Docker {docker} has no packages for 32-bit Raspberry Pi OS"),
            "use a 64-bit base, Docker 28, or containerd",
        );
    } else if facts.armv6 {
        error(
            found,
            "G10",
            format!("packages of Docker {docker} for Debian are for ARMv7, and the board is ARMv6"),
            "use a Pi 2 or later",
        );
    }
}

/// Raspberry Pi OS since bookworm.
fn g11(system: &System, base: &Base, found: &mut Found<'_>) {
    let bookworm = base.debian.is_some_and(|debian| debian >= 12);
    if base.os != Os::RaspberryPiOs || !bookworm {
        return;
    }
    if let Some(mount) = base.boot_mount.as_deref()
        && mount.trim_end_matches('/') != "/boot/firmware"
    {
        error(
            found,
            "G11",
            format!(
                "the boot partition of Raspberry Pi OS is at /boot/firmware since bookworm, and the base says `{mount}`"
            ),
            "address files on it as `boot:/…`, and check that the base is what it says",
        );
    }
    if system.wpa_supplicant_conf {
        error(
            found,
            "G11",
            "Raspberry Pi OS does not read `wpa_supplicant.conf` from the boot partition since bookworm"
                .to_owned(),
            "name the WiFi network in the cluster file",
        );
    }
}

/// VXLAN on Ubuntu.
fn g12(facts: &Facts, found: &mut Found<'_>) {
    const PACKAGE: &str = "linux-modules-extra-raspi";
    let Some(version) = facts.base.ubuntu else { return };
    let lacks = version >= Version(20, 10, 0) && version < Version(24, 4, 0);
    if facts.base.os == Os::Ubuntu && lacks && facts.vxlan && !facts.packages.iter().any(|p| p == PACKAGE) {
        error(
            found,
            "G12",
            format!(
                "Ubuntu {}.{:02} keeps VXLAN, which connects pods, in the package {PACKAGE}",
                version.0, version.1
            ),
            format!("add `{PACKAGE}` to the packages, or use Ubuntu 24.04"),
        );
    }
}

/// Swap that the kubelet cannot live with.
fn p12(facts: &Facts, found: &mut Found<'_>) {
    if facts.swap == SwapUse::Limited && !facts.version.at_least(22) {
        error(
            found,
            "P12",
            format!("the kubelet of {} cannot give pods swap", facts.version),
            "turn swap off, or use Kubernetes 1.22 or later",
        );
    }
    if facts.swap == SwapUse::NotForPods
        && facts.base.cgroup == Some(CgroupVersion::V1)
        && facts.version.at_least(22)
    {
        warn(
            found,
            "P12",
            "on cgroup v1 pods may use swap whatever the kubelet says".to_owned(),
            "turn swap off, or use a base with cgroup v2",
        );
    }
}

/// Docker that is newer than kubeadm knows.
fn p44(facts: &Facts, found: &mut Found<'_>) {
    let Runtime::Docker(docker) = facts.runtime else {
        return;
    };
    if facts.flavour != Flavour::Kubeadm || facts.version.major != 1 {
        return;
    }
    let minor = facts.version.minor;
    let Some((_, _, newest)) = DOCKER
        .iter()
        .find(|(first, last, _)| (*first..=*last).contains(&minor))
    else {
        return;
    };
    if docker <= *newest {
        return;
    }
    let sentence = format!(
        "kubeadm {} was made for Docker {}.{:02} at most, and the node has {}.{:02}",
        facts.version, newest.0, newest.1, docker.0, docker.1
    );
    let remedy = format!(
        "pin Docker {}.{:02}, or use a newer Kubernetes",
        newest.0, newest.1
    );
    if minor <= 11 {
        error(found, "P44", sentence, remedy);
    } else {
        warn(found, "P44", sentence, remedy);
    }
}

/// Kernels known to be too old for a pair.
fn p65(facts: &Facts, found: &mut Found<'_>) {
    let (Some(kernel), Runtime::Docker(docker)) = (facts.base.kernel, facts.runtime) else {
        return;
    };
    for (first, last, since, floor) in KERNELS {
        if (first..=last).contains(&facts.version.minor) && docker >= since && kernel < floor {
            error(
                found,
                "P65",
                format!(
                    "Kubernetes {} with Docker {}.{:02} needs kernel {floor}, and the base has {kernel}",
                    facts.version, docker.0, docker.1
                ),
                "use a newer base, or another kernel package",
            );
        }
    }
}

#[cfg(test)]
mod tests;
