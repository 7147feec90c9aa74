//! What a base image is, and how it takes a wish: one page of facts, read from its volumes.
//!
//! This room knows distributions: where they mount the FAT partition, whether cloud-init is there and where it
//! looks, who sets up the network. It must not know host files or the network; it changes nothing.

mod cloud_init;
mod identity;
mod network;
mod probe;
#[cfg(test)]
mod tests;

use crate::amend::FstabEntry;
use crate::plan::Edit;

pub use crate::values::Arch;
pub use identity::identity_edits;
pub use probe::probe;

/// Where cloud-init finds its seed files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seed {
    /// A folder of the boot volume, through `seedfrom` (Raspberry Pi OS) or the label of the FAT (Ubuntu).
    Boot {
        /// The folder on the volume, `/` as a rule.
        dir: String,
    },
    /// Links in `/var/lib/cloud/seed/nocloud-net` that point to the boot volume (HypriotOS).
    Links {
        /// Whether `network-config` is among them.
        network_config: bool,
    },
}

/// Who sets up interfaces when cloud-init does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkManager {
    /// NetworkManager with keyfiles.
    NetworkManager,
    /// systemd-networkd.
    Networkd,
    /// dhcpcd with `/etc/dhcpcd.conf`.
    Dhcpcd,
    /// None of these.
    Unknown,
}

/// A cloud-init in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudInit {
    /// Version as the package has it, such as `25.2-1~bpo13+1+rpt20`.
    pub version: Option<String>,
    /// Where it looks, if that is the boot volume.
    pub seed: Option<Seed>,
    /// Stock `user-data`, when there is one.
    pub user_data: Option<String>,
    /// Stock `meta-data`, when there is one.
    pub meta_data: Option<String>,
}

/// What is known of an opened base image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseFacts {
    /// `ID` of os-release, such as `debian`, `raspbian`, `ubuntu`; empty when there is no os-release.
    pub id: String,
    /// `VERSION_CODENAME`, such as `trixie`; empty when not given.
    pub version_codename: String,
    /// `VERSION_ID`, such as `13`; empty when not given.
    pub version_id: String,
    /// `PRETTY_NAME`; empty when not given.
    pub pretty_name: String,
    /// From the ELF header of a program.
    pub arch: Option<Arch>,
    /// Where the FAT partition is mounted: `/boot/firmware` or `/boot`.
    pub boot_mount: String,
    /// The command line that the firmware reads, on the boot volume: `/cmdline.txt`, `/current/cmdline.txt`;
    /// `None` when it is not there.
    pub cmdline_path: Option<String>,
    /// cloud-init, if it is installed.
    pub cloud_init: Option<CloudInit>,
    /// Who sets up interfaces.
    pub network: NetworkManager,
    /// Entries of `/etc/fstab`.
    pub fstab: Vec<FstabEntry>,
    /// Text of `/etc/hosts`.
    pub hosts: Option<String>,
    /// Label of the root volume.
    pub root_label: String,
    /// Label of the boot volume.
    pub boot_label: String,
}

/// Edits that carry a node's wishes on one base, and the sentences that explain the choice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Edits in order.
    pub edits: Vec<Edit>,
    /// Which mechanism was chosen and why, what was left to the user's own edits.
    pub notes: Vec<String>,
}
