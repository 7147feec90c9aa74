//! Interfaces, by one owner per base (P39): cloud-init where it has a seed and a format for them, otherwise a file of
//! whoever sets up interfaces.

mod dhcpcd;
mod ifupdown;
mod keyfile;
mod networkd;
mod wifi;

use crate::plan::{Address, Attributes, Content, Interface, Op, StaticAddress};
use crate::values::{ImagePath, ImagePathError, Mode, Owner, VolumeName};

use super::builder::{Builder, Failure};
use super::{CloudInit, NetworkManager, Seed, cloud_init};

/// Turns cloud-init's network off where something else owns the interfaces.
const CLOUD_OFF: (&str, &str) = (
    "/etc/cloud/cloud.cfg.d/99-ceil-network.cfg",
    "network: {config: disabled}\n",
);

/// Longest name of an interface in the kernel, in bytes.
const MAX_NAME: usize = 15;

/// An Ethernet interface that the boot does not wait for.
pub(super) fn wired(fixed: &StaticAddress) -> Interface {
    Interface {
        name: fixed.interface.clone(),
        address: Address::Static(fixed.clone()),
        wifi: None,
        optional: true,
    }
}

/// The edit that gives one fixed address, and the word for the mechanism. `None` when none is known.
pub(super) fn static_address(
    fixed: &StaticAddress,
    manager: NetworkManager,
) -> Result<Option<(Op, &'static str)>, ImagePathError> {
    let one = wired(fixed);
    let name = &fixed.interface;
    let put = |path: &str, text: &str, mode: u16| -> Result<Op, ImagePathError> {
        Ok(Op::Put {
            at: ImagePath::on(VolumeName::Root, path)?,
            content: Content::inline(text.as_bytes()),
            attributes: Attributes {
                mode: Some(Mode(mode)),
                owner: Some(Owner::default()),
                mtime: None,
            },
            xattrs: Vec::new(),
            sparse: false,
        })
    };
    Ok(match manager {
        NetworkManager::NetworkManager => {
            // NetworkManager ignores keyfiles that others may read.
            let op = put(&keyfile::path(name), &keyfile::text(&one), 0o600)?;
            Some((op, "a NetworkManager keyfile"))
        }
        NetworkManager::Networkd => {
            let op = put(&networkd::path(name), &networkd::address(fixed), 0o644)?;
            Some((op, "a systemd-networkd file"))
        }
        NetworkManager::Dhcpcd => {
            let op = Op::Append {
                at: ImagePath::on(VolumeName::Root, "/etc/dhcpcd.conf")?,
                content: Content::inline(dhcpcd::address(fixed).as_bytes()),
            };
            Some((op, "lines in dhcpcd.conf"))
        }
        NetworkManager::Ifupdown => {
            let op = put(&ifupdown::path(name), &ifupdown::text(&one), 0o644)?;
            Some((op, "a file of ifupdown"))
        }
        NetworkManager::Unknown => None,
    })
}

impl Builder<'_> {
    /// All interfaces that the node wishes.
    pub(super) fn interfaces(&mut self, seeded: Option<(&CloudInit, &Seed)>) -> Result<(), Failure> {
        let plan = self.plan;
        let all: Vec<&Interface> = plan.wishes.interfaces.iter().collect();
        self.check_interfaces(&all)?;
        let wireless: Vec<&Interface> = all.iter().copied().filter(|i| i.wifi.is_some()).collect();
        if !wireless.is_empty() {
            self.radios(&wireless)?;
        }
        if let Some((cloud, seed)) = seeded {
            let release = cloud.release();
            let reads = release.as_ref().is_none_or(|r| r.at_least(&[0, 7, 9]));
            if reads && (wireless.is_empty() || cloud_init::network_version(cloud) == 2) {
                if !wireless.is_empty() && !self.facts.system.radio.wpa_supplicant {
                    self.note(
                        "the base has no wpa_supplicant, which joins WiFi: add `wpasupplicant` to `packages`",
                    );
                }
                return self.network_config(cloud, seed, &all);
            }
            let why = if reads {
                "knows no WiFi in its network-config"
            } else {
                "reads no network-config"
            };
            self.note(format!("cloud-init of this base {why}: it keeps off the network"));
        }
        self.baked_interfaces(&all)
    }

    fn check_interfaces(&self, all: &[&Interface]) -> Result<(), Failure> {
        for (i, interface) in all.iter().enumerate() {
            let name = interface.name.as_str();
            let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':' | b'@');
            if name.is_empty()
                || name.len() > MAX_NAME
                || name == "."
                || name == ".."
                || !name.bytes().all(ok)
            {
                return Err(Failure::Refused(format!(
                    "`{}` is no interface; a name has 1 to {MAX_NAME} letters and digits, such as `eth0`",
                    name.escape_debug()
                )));
            }
            if all[..i].iter().any(|other| other.name == name) {
                return Err(Failure::Refused(format!("the interface `{name}` is given twice")));
            }
        }
        Ok(())
    }

    /// cloud-init's network-config.
    pub(super) fn network_config(
        &mut self,
        cloud: &CloudInit,
        seed: &Seed,
        interfaces: &[&Interface],
    ) -> Result<(), Failure> {
        let version = cloud_init::network_version(cloud);
        let text = cloud_init::network_config(interfaces, version)?;
        // Without a link on the root volume the file of the boot volume would not be read.
        let (volume, path) = match seed {
            Seed::Links {
                network_config: false,
            } => (
                VolumeName::Root,
                "/var/lib/cloud/seed/nocloud-net/network-config".to_owned(),
            ),
            _ => (VolumeName::Boot, format!("{}/network-config", seed.dir())),
        };
        let secret = interfaces.iter().any(|i| has_key(i));
        let put = if secret && volume == VolumeName::Root {
            self.secret(&path, &text)?
        } else if secret {
            self.put_content(
                volume,
                &path,
                Content::secret(text.as_bytes()),
                Attributes::default(),
            )?
        } else {
            self.put(volume, &path, &text)?
        };
        if put {
            let what = match interfaces {
                [one]
                    if matches!(one.address, Address::Static(_))
                        && self.plan.wishes.interfaces.is_empty() =>
                {
                    "the address goes"
                }
                _ => "interfaces go",
            };
            self.note(format!(
                "{what} to cloud-init as network-config version {version}"
            ));
        }
        Ok(())
    }

    fn baked_interfaces(&mut self, all: &[&Interface]) -> Result<(), Failure> {
        let facts = self.facts;
        let word = match facts.network {
            NetworkManager::NetworkManager => {
                for interface in all {
                    let (path, text) = (keyfile::path(&interface.name), keyfile::text(interface));
                    if has_key(interface) {
                        self.secret(&path, &text)?;
                    } else {
                        self.file(&path, &text, 0o600)?;
                    }
                }
                "NetworkManager keyfiles"
            }
            NetworkManager::Networkd => {
                for interface in all {
                    self.file(
                        &networkd::path(&interface.name),
                        &networkd::text(interface),
                        0o644,
                    )?;
                    if interface.wifi.is_some() {
                        self.supplicant(interface)?;
                        self.supplicant_unit(&interface.name)?;
                    }
                }
                "systemd-networkd files"
            }
            NetworkManager::Dhcpcd => {
                let text: String = all.iter().map(|i| dhcpcd::text(i)).collect();
                if !text.is_empty() {
                    let at = ImagePath::on(VolumeName::Root, "/etc/dhcpcd.conf")?;
                    if !self.left(&at) {
                        self.push(Op::Append {
                            at,
                            content: Content::inline(text.as_bytes()),
                        });
                    }
                }
                for interface in all.iter().filter(|i| i.wifi.is_some()) {
                    self.supplicant(interface)?;
                }
                "lines in dhcpcd.conf, DHCP being its way without any"
            }
            NetworkManager::Ifupdown => {
                self.ifupdown(all)?;
                "files of ifupdown"
            }
            NetworkManager::Unknown => {
                return Err(Failure::Refused(format!(
                    "no way to set up interfaces on {} is known; supported are cloud-init with a seed on the boot volume, NetworkManager, systemd-networkd, dhcpcd and ifupdown; leave `interfaces` out and put network files among the edits",
                    facts.called()
                )));
            }
        };
        if facts.cloud_init.is_some() {
            self.file(CLOUD_OFF.0, CLOUD_OFF.1, 0o644)?;
        }
        self.note(format!("interfaces are baked as {word}"));
        Ok(())
    }

    fn ifupdown(&mut self, all: &[&Interface]) -> Result<(), Failure> {
        let facts = self.facts;
        let main = facts.system.interfaces.as_deref().unwrap_or_default();
        for interface in all {
            let name = interface.name.as_str();
            if ifupdown::defines(main, name) {
                return Err(Failure::Refused(format!(
                    "/etc/network/interfaces of {} sets up `{name}` itself; put that file among the edits without it",
                    facts.called()
                )));
            }
            for (file, text) in &facts.system.interfaces_d {
                let path = format!("/etc/network/interfaces.d/{file}");
                if ifupdown::defines(text, name) && path != ifupdown::path(name) {
                    self.remove(&path)?;
                    self.note(format!(
                        "`{path}` of the base is removed, since it sets up `{name}` too"
                    ));
                }
            }
            self.file(&ifupdown::path(name), &ifupdown::text(interface), 0o644)?;
            if interface.wifi.is_some() {
                self.supplicant(interface)?;
            }
        }
        if !main.contains("interfaces.d") {
            let at = ImagePath::on(VolumeName::Root, "/etc/network/interfaces")?;
            if !self.left(&at) {
                self.push(Op::Append {
                    at,
                    content: Content::inline(b"\nsource /etc/network/interfaces.d/*\n"),
                });
            }
        }
        if facts.system.dhcpcd {
            let names: Vec<&str> = all.iter().map(|i| i.name.as_str()).collect();
            let text = format!("\ndenyinterfaces {}\n", names.join(" "));
            self.push(Op::Append {
                at: ImagePath::on(VolumeName::Root, "/etc/dhcpcd.conf")?,
                content: Content::inline(text.as_bytes()),
            });
        }
        Ok(())
    }
}

/// Whether an interface has a key of a WiFi network.
fn has_key(interface: &Interface) -> bool {
    interface.wifi.as_ref().is_some_and(|w| w.psk.is_some())
}
