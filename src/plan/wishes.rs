//! What a node should be, apart from its files: each base carries these by a mechanism of its own.

use std::net::IpAddr;

use crate::values::{ByteSize, Hostname};

use super::{Address, Content};

/// What is wished of the operating system of a node. Everything may be left out; then the base keeps what it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Accounts. Where there are any, the base's own default account is not made.
    pub users: Vec<User>,
    /// The SSH server.
    pub ssh: Ssh,
    /// IANA name, such as `Europe/Berlin` (F047).
    pub timezone: Option<String>,
    /// Such as `en_GB.UTF-8` (F046).
    pub locale: Option<String>,
    /// XKB layout, such as `gb`.
    pub keyboard: Option<String>,
    /// All interfaces; when empty, the address of the identity alone.
    pub interfaces: Vec<Interface>,
    /// Lines of `/etc/hosts` for all members (F045).
    pub hosts: Vec<Host>,
    /// Packages that the first boot installs (F053).
    pub packages: Vec<String>,
    /// Whether the first boot upgrades packages (F054); the base's own policy when not given.
    pub upgrade: Option<bool>,
    /// Swap (F070 to F072).
    pub swap: Option<Swap>,
    /// Kernel parameters for `/etc/sysctl.d`, in this order (F073, F074).
    pub sysctls: Vec<(String, String)>,
    /// Kernel modules for `/etc/modules-load.d`, in this order (F075 to F077).
    pub modules: Vec<String>,
    /// Units to enable or mask.
    pub units: Vec<Unit>,
    /// Whether the node may use passwords and names that everyone knows (F049).
    pub legacy: bool,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Full name.
    pub gecos: Option<String>,
    /// Groups besides its own; those that the base lacks are made.
    pub groups: Vec<String>,
    /// Rule for sudo, such as `ALL=(ALL) NOPASSWD:ALL`; without one the user has no rule (F050).
    pub sudo: Option<String>,
    /// Login shell.
    pub shell: String,
    /// Public keys in OpenSSH's form (F048).
    pub ssh_keys: Vec<String>,
    /// Hashed password; the account is locked without one (F048).
    pub password: Option<PasswordHashes>,
}

/// One password in the two forms that bases know.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHashes {
    /// `$6$`: every base knows it.
    pub sha512_crypt: String,
    /// `$y$`: Debian 11 and later.
    pub yescrypt: String,
}

impl std::fmt::Debug for PasswordHashes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHashes(…)")
    }
}

/// The SSH server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ssh {
    /// Whether it runs (F033); the base's own setting when not given.
    pub enabled: Option<bool>,
    /// Whether passwords log in (F051).
    pub password_login: Option<bool>,
    /// Ed25519 host key made at build (F052); the board makes its own without one.
    pub host_key: Option<HostKeyFiles>,
}

/// A host key as sshd keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeyFiles {
    /// `ssh_host_ed25519_key`, a secret.
    pub private: Content,
    /// `ssh_host_ed25519_key.pub`: one line.
    pub public: String,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Name in the running system, such as `eth0`.
    pub name: String,
    /// How it gets its address.
    pub address: Address,
    /// WiFi to join.
    pub wifi: Option<Wifi>,
    /// Whether the boot goes on without it.
    pub optional: bool,
}

/// A WiFi network.
#[derive(Clone, PartialEq, Eq)]
pub struct Wifi {
    /// Name of the network, at most 32 bytes.
    pub ssid: String,
    /// Pre-shared key as 64 hexadecimal digits (PBKDF2 of passphrase and name, IEEE 802.11i); none for open networks.
    pub psk: Option<String>,
    /// ISO 3166 country, two capital letters; without one radios stay off (F092, P38).
    pub country: String,
    /// Whether the network hides its name.
    pub hidden: bool,
    /// Power saving; off for nodes that serve (F093).
    pub power_save: bool,
}

impl std::fmt::Debug for Wifi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Wifi({})", self.country)
    }
}

/// A line of `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Address.
    pub ip: IpAddr,
    /// Names, the first is the canonical one.
    pub names: Vec<Hostname>,
}

/// What becomes of swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// None, whichever mechanism the base has (F070, P10, P56).
    Off,
    /// The base's own stays, and the kubelet lets pods use a limited part (F071).
    Limited,
    /// Compressed memory of this size (F072).
    Zram(ByteSize),
}

/// A systemd unit that changes its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Such as `k3s.service`.
    pub name: String,
    /// What becomes of it.
    pub state: UnitState,
}

/// State of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitState {
    /// Wanted by this target, such as `multi-user.target`.
    Enabled(String),
    /// Cannot start.
    Masked,
}
