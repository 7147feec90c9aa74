//! The facts of a base, one type per subject.

use std::collections::{BTreeMap, BTreeSet};

use crate::amend::Accounts;
use crate::cloud_config::Release;

/// A cloud-init in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudInit {
    /// Version as the package has it, such as `25.2-1~bpo13+1+rpt20`.
    pub version: Option<String>,
    /// Where it looks, if that is the boot volume.
    pub seed: Option<super::Seed>,
    /// Stock `user-data`, when there is one.
    pub user_data: Option<String>,
    /// Stock `meta-data`, when there is one.
    pub meta_data: Option<String>,
}

impl CloudInit {
    /// The version in a form that compares.
    #[must_use]
    pub fn release(&self) -> Option<Release> {
        self.version.as_deref().and_then(Release::parse)
    }
}

/// What starts the programs of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Init {
    /// systemd; its version where the package tells.
    Systemd(Option<u32>),
    /// Something else, or nothing.
    #[default]
    Other,
}

/// A kernel by its modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// Name of its folder in `/lib/modules`.
    pub release: String,
    /// Modules as files and built in, `-` written as `_`; `None` when it has no list.
    pub modules: Option<BTreeSet<String>>,
}

/// Mechanisms of swap that a base has (P10).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SwapFacts {
    /// Text of `/etc/dphys-swapfile`, or nothing of it but its unit.
    pub dphys: Option<String>,
    /// rpi-swap, by its configuration.
    pub rpi_swap: bool,
    /// Generators of units for swap, by file name.
    pub generators: Vec<String>,
    /// Mount points of swap in fstab, `none` as a rule.
    pub fstab: Vec<String>,
}

/// The SSH server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SshFacts {
    /// Text of `/etc/ssh/sshd_config`, when there is a server.
    pub config: Option<String>,
    /// Whether a link makes it start.
    pub enabled: bool,
    /// Whether Raspberry Pi OS's first-boot script makes new host keys.
    pub first_boot_keys: bool,
}

impl SshFacts {
    /// Whether sshd_config reads `/etc/ssh/sshd_config.d`.
    #[must_use]
    pub fn has_drop_ins(&self) -> bool {
        self.config.as_deref().unwrap_or_default().lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next().is_some_and(|w| w.eq_ignore_ascii_case("include"))
                && words.any(|w| w == "/etc/ssh/sshd_config.d/*.conf" || w == "sshd_config.d/*.conf")
        })
    }
}

/// The other copy of the machine's id, of D-Bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DbusId {
    /// Not there.
    #[default]
    Missing,
    /// A link, to `/etc/machine-id` as a rule.
    Link,
    /// A file of its own.
    File,
}

/// How the base keeps time over a power cut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClockFacts {
    /// Text of fake-hwclock's file, which may be empty, and whether it lies on the boot volume.
    pub fake_hwclock: Option<(String, bool)>,
    /// systemd-timesyncd is there.
    pub timesyncd: bool,
}

/// Radios.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RadioFacts {
    /// Files of systemd-rfkill that block WiFi.
    pub blocked: Vec<String>,
    /// State of NetworkManager with `WirelessEnabled=false`.
    pub nm_state: Option<String>,
    /// Path of `iw`.
    pub iw: Option<String>,
    /// wpa_supplicant is there.
    pub wpa_supplicant: bool,
}

/// What is known of the inside of a system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SystemFacts {
    /// What starts programs.
    pub init: Init,
    /// Kernels in the order of their names.
    pub kernels: Vec<Kernel>,
    /// Mechanisms of swap.
    pub swap: SwapFacts,
    /// The SSH server.
    pub ssh: SshFacts,
    /// Accounts, when there is an `/etc/passwd`.
    pub accounts: Option<Accounts>,
    /// Files of `/etc/skel` with their texts.
    pub skel: Vec<(String, String)>,
    /// `/etc/sudoers.d` is there.
    pub sudo: bool,
    /// The first boot asks for a user or takes one from `userconf.txt`.
    pub userconf: bool,
    /// `rpi-preseed` is installed.
    pub preseed: bool,
    /// Text of `/etc/machine-id`.
    pub machine_id: Option<String>,
    /// D-Bus's copy.
    pub dbus_id: DbusId,
    /// The text of D-Bus's copy or of `/etc/machine-id` is one that a vendor gave to every card (P01).
    pub shared_machine_id: bool,
    /// Time.
    pub clock: ClockFacts,
    /// Radios.
    pub radio: RadioFacts,
    /// Units by name, with the path of their file.
    pub units: BTreeMap<String, String>,
    /// Names of time zones.
    pub zones: BTreeSet<String>,
    /// Text of `/etc/locale.gen`.
    pub locale_gen: Option<String>,
    /// The file that `/etc/default/locale` is, or links to, and its text.
    pub locale: Option<(String, String)>,
    /// Text of `/etc/default/keyboard`.
    pub keyboard: Option<String>,
    /// Files of `/etc/network/interfaces.d` with their texts.
    pub interfaces_d: Vec<(String, String)>,
    /// `/etc/dhcpcd.conf` is there.
    pub dhcpcd: bool,
    /// Text of `/etc/network/interfaces`.
    pub interfaces: Option<String>,
    /// Installed packages with their versions, as dpkg knows them.
    pub packages: BTreeMap<String, String>,
}

impl SystemFacts {
    /// Whether systemd starts programs.
    #[must_use]
    pub const fn is_systemd(&self) -> bool {
        matches!(self.init, Init::Systemd(_))
    }

    /// Whether the `legacy` variant of iptables is the better one: 1.8.0 to 1.8.4 duplicate rules in nft mode; `None`
    /// when nothing is known (F078).
    #[must_use]
    pub fn wants_iptables_legacy(&self) -> Option<bool> {
        let release = Release::parse(self.packages.get("iptables")?)?;
        Some(!release.at_least(&[1, 8, 5]))
    }

    /// Whether a kernel has a module: `None` when no kernel has a list.
    #[must_use]
    pub fn lacks_module(&self, name: &str) -> Option<Vec<&str>> {
        let name = name.replace('-', "_");
        let known: Vec<&Kernel> = self.kernels.iter().filter(|k| k.modules.is_some()).collect();
        if known.is_empty() {
            return None;
        }
        let lacks = |k: &&Kernel| k.modules.as_ref().is_some_and(|m| !m.contains(&name));
        Some(
            known
                .into_iter()
                .filter(lacks)
                .map(|k| k.release.as_str())
                .collect(),
        )
    }
}

/// Generation of the control groups that a release mounts: 2 from Debian 11 and Ubuntu 21.10 on. `None` when the release
/// is not known.
#[must_use]
pub fn cgroup_generation(codename: &str) -> Option<u8> {
    match codename {
        "wheezy" | "jessie" | "stretch" | "buster" | "xenial" | "bionic" | "focal" => Some(1),
        "bullseye" | "bookworm" | "trixie" | "forky" | "jammy" | "noble" | "oracular" | "plucky"
        | "questing" | "resolute" => Some(2),
        _ => None,
    }
}
