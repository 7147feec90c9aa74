//! What a base image is, and how it takes a wish: one page of facts, read from its volumes.
//!
//! This room knows distributions: where they mount the FAT partition, whether cloud-init is there and where it
//! looks, who sets up the network. It must not know host files or the network; it changes nothing.

mod builder;
mod clock;
mod cloud_init;
mod facts;
mod identity;
mod kernel;
mod locale;
mod network;
mod packages;
mod probe;
mod ssh;
mod swap;
#[cfg(test)]
mod tests;
mod units;
mod users;

use crate::amend::FstabEntry;
use crate::plan::Edit;

/// Where an image says which node it is, on the boot volume: what every system can read from a card.
pub const CARD_RECORD: &str = "/ceil-card.json";

pub use crate::values::Arch;
pub use facts::{
    ClockFacts, CloudInit, DbusId, Init, Kernel, RadioFacts, SshFacts, SwapFacts, SystemFacts,
    cgroup_generation,
};
pub use identity::identity_edits;
pub use kernel::{MODULES_FILE, SYSCTLS_FILE, modules_text, sysctls_text};
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

impl Seed {
    /// The folder of the boot volume, without a final `/`.
    #[must_use]
    pub fn dir(&self) -> &str {
        match self {
            Self::Boot { dir } => dir.trim_end_matches('/'),
            Self::Links { .. } => "",
        }
    }
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
    /// ifupdown with `/etc/network/interfaces`.
    Ifupdown,
    /// None of these.
    Unknown,
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
    /// The inside of the system.
    pub system: SystemFacts,
}

impl BaseFacts {
    /// Generation of the control groups; `None` when the release is not known.
    #[must_use]
    pub fn cgroup_generation(&self) -> Option<u8> {
        cgroup_generation(&self.version_codename)
    }

    /// The folder of the boot volume that the firmware prefixes to its files, such as `current/` of Ubuntu 25.10 and
    /// later; empty as a rule (F032).
    #[must_use]
    pub fn boot_prefix(&self) -> &str {
        let path = self.cmdline_path.as_deref().unwrap_or_default();
        path.rsplit_once('/')
            .map_or("", |(folder, _)| folder.trim_start_matches('/'))
    }

    /// What the base is called in messages.
    #[must_use]
    pub fn called(&self) -> &str {
        if self.pretty_name.is_empty() {
            "this base"
        } else {
            &self.pretty_name
        }
    }
}

/// Edits that carry a node's wishes on one base, and the sentences that explain the choice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Edits in order.
    pub edits: Vec<Edit>,
    /// Which mechanism was chosen and why, what was left to the user's own edits.
    pub notes: Vec<String>,
}
