use std::fmt;
use std::str::FromStr;

use crate::flavour::{Flavour, KubernetesVersion, Role, SwapUse};
use crate::values::{Arch, ByteSize};

/// What runs containers. k3s brings its own containerd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// containerd.
    Containerd,
    /// Docker of this version, such as 18.6 for 18.06.
    Docker(Version),
}

/// A version of two or three numbers: of a kernel, Docker, cloud-init or a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

/// Why a text is not a [`Version`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` does not begin with a version; write two or three numbers with dots, such as `4.14.98` or `18.06`"
)]
pub struct NumbersError(pub String);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl FromStr for Version {
    type Err = NumbersError;

    /// Reads the numbers at the start of `4.14.98-v7+`, `18.06.3`, `24.04` or `25.2-1~bpo13+1`.
    fn from_str(text: &str) -> Result<Self, NumbersError> {
        let bad = || NumbersError(text.to_owned());
        let mut numbers = [0; 3];
        let mut found = 0;
        for (slot, part) in numbers.iter_mut().zip(text.split('.')) {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                break;
            }
            *slot = part[..digits].parse().map_err(|_| bad())?;
            found += 1;
            if digits < part.len() {
                break;
            }
        }
        if found < 2 {
            return Err(bad());
        }
        let [major, minor, patch] = numbers;
        Ok(Self(major, minor, patch))
    }
}

/// Who made a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Os {
    /// Raspbian and Raspberry Pi OS.
    RaspberryPiOs,
    /// Ubuntu for Raspberry Pi.
    Ubuntu,
    /// Debian.
    Debian,
    /// HypriotOS, or its 64-bit offspring.
    HypriotOs,
    /// Something else.
    Other,
}

/// Generation of control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupVersion {
    /// The first, or both at once.
    V1,
    /// The second alone.
    V2,
}

/// What gates ask of a base, whether or not it was opened. What is `None` is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Who made it.
    pub os: Os,
    /// Version of Debian that it is or derives from: 8 jessie … 12 bookworm, 13 trixie.
    pub debian: Option<u32>,
    /// Version of Ubuntu.
    pub ubuntu: Option<Version>,
    /// Kernel, from the name of its modules' folder.
    pub kernel: Option<Version>,
    /// Control groups as it boots, kernel words of the profile included.
    pub cgroup: Option<CgroupVersion>,
    /// Whether its kernel has the `pids` controller.
    pub pids: Option<bool>,
    /// cloud-init; `None` where there is none.
    pub cloud_init: Option<Version>,
    /// Where the FAT partition is mounted, from fstab.
    pub boot_mount: Option<String>,
}

/// What a system is told at its first boot, whatever runs on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct System {
    /// Version of the network configuration that cloud-init is given.
    pub network_config: Option<u32>,
    /// Top-level keys of the user-data.
    pub user_data_keys: Vec<String>,
    /// Whether WiFi is set up by `wpa_supplicant.conf` on the FAT partition.
    pub wpa_supplicant_conf: bool,
}

/// What a node of Kubernetes is to be, as far as gates ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Version of Kubernetes.
    pub version: KubernetesVersion,
    /// k3s or kubeadm.
    pub flavour: Flavour,
    /// Role of the node.
    pub role: Role,
    /// Architecture of the base's programs.
    pub arch: Option<Arch>,
    /// Whether the board's processor is an ARMv6 (Pi 1 and Zero), which runs few `armhf` programs.
    pub armv6: bool,
    /// Memory of the board.
    pub ram: Option<ByteSize>,
    /// What runs containers.
    pub runtime: Runtime,
    /// Policy for swap.
    pub swap: SwapUse,
    /// Whether the kubelet may run on cgroup v1.
    pub allow_cgroup_v1: bool,
    /// Whether pods are connected by VXLAN.
    pub vxlan: bool,
    /// Whether parts of k3s are left out.
    pub trimmed: bool,
    /// Preflight checks of kubeadm that may fail.
    pub ignore_preflight: Vec<String>,
    /// Whether the release of k3s has a program for this instruction set; asked on 32-bit ARM only.
    pub k3s_armhf: Option<bool>,
    /// Whether programs of Kubernetes come from its package repository.
    pub kubernetes_from_apt: bool,
    /// Whether volumes of the kind `glusterfs` are used.
    pub gluster_in_tree: bool,
    /// Kinds that manifests use, as `group/version Kind`, such as `extensions/v1beta1 Ingress`.
    pub manifest_kinds: Vec<String>,
    /// Packages to be installed, or that the base is known to have.
    pub packages: Vec<String>,
    /// What the system is told at its first boot.
    pub system: System,
    /// The base.
    pub base: Base,
}
