//! From settings to what the base is asked for.

use crate::flavour::NodeFiles;
use crate::plan::{
    Content, HostKeyFiles, Interface, Origin, PasswordHashes, Ssh, Swap, Unit, UnitState, User, Wifi, Wishes,
};
use crate::secrets::{HostKey, Scheme, hash_password, wifi_psk};
use crate::spec::{At, ClusterSpec, Inputs, SwapSettings, UserSettings, key_file, list_words, nearest};

use super::PlanError;
use super::debs;
use super::secrets::{host_key, psk_name};
use super::view::{Port, View};

/// Passwords that everybody knows (P32): those of the images and tools of the reference systems.
const KNOWN_PASSWORDS: [&str; 9] = [
    "hypriot",
    "raspberry",
    "raspbian",
    "ubuntu",
    "pirate",
    "admin",
    "password",
    "changeme",
    "alpine",
];

const SHELL: &str = "/bin/bash";

pub(super) fn of(
    cluster: &ClusterSpec,
    inputs: &Inputs,
    views: &[View<'_>],
    view: &View<'_>,
) -> Result<Wishes, PlanError> {
    let settings = &view.resolved.settings;
    let legacy = settings.legacy == Some(true);
    let mut users = Vec::new();
    for (name, user) in &settings.users {
        users.push(account(inputs, name, user, legacy)?);
    }
    let mut interfaces = Vec::new();
    for port in &view.ports {
        interfaces.push(interface(cluster, inputs, port)?);
    }
    let plain = settings.interfaces.is_empty();
    let mut units = Vec::new();
    for (name, state) in &settings.units {
        units.push(Unit {
            name: name.clone(),
            state: match state.as_str() {
                "masked" => UnitState::Masked,
                "enabled" => UnitState::Enabled("multi-user.target".to_owned()),
                target => UnitState::Enabled(target.to_owned()),
            },
        });
    }
    Ok(Wishes {
        users,
        ssh: ssh(inputs, view)?,
        timezone: settings.timezone.clone(),
        locale: settings.locale.clone(),
        keyboard: settings.keyboard.clone(),
        // The address of the identity is enough for one plain interface.
        interfaces: if plain { Vec::new() } else { interfaces },
        // A cluster of one needs no list of members.
        hosts: if views.len() > 1 {
            let peers = view.peers(views);
            peers
                .iter()
                .filter_map(|v| v.host(cluster.domain.as_ref()))
                .collect()
        } else {
            Vec::new()
        },
        packages: debs::missing(inputs, view)?,
        upgrade: settings.upgrade,
        swap: settings.swap.as_ref().map(|s| match s.value {
            SwapSettings::Off => Swap::Off,
            SwapSettings::Limited => Swap::Limited,
            SwapSettings::Zram(size) => Swap::Zram(size),
        }),
        sysctls: settings.sysctl.clone().into_iter().collect(),
        modules: settings.modules.clone(),
        units,
        legacy,
    })
}

/// Adds what the flavour of Kubernetes wants of kernel and units; what the node's settings say themselves counts.
pub(super) fn add_kernel(wishes: &mut Wishes, files: &NodeFiles) {
    for module in &files.modules {
        if !wishes.modules.iter().any(|m| m == module) {
            wishes.modules.push((*module).to_owned());
        }
    }
    for (key, value) in &files.sysctls {
        if !wishes.sysctls.iter().any(|(k, _)| k == key) {
            wishes.sysctls.push(((*key).to_owned(), (*value).to_owned()));
        }
    }
    for unit in &files.units {
        if !wishes.units.iter().any(|u| u.name == unit.name) {
            wishes.units.push(unit.clone());
        }
    }
}

fn wrong(origin: &Origin, why: impl Into<String>) -> PlanError {
    PlanError::Unsupported {
        origin: origin.clone(),
        why: why.into(),
    }
}

fn account(inputs: &Inputs, name: &str, user: &At<UserSettings>, legacy: bool) -> Result<User, PlanError> {
    let origin = &user.origin;
    let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if name.is_empty()
        || name.len() > 32
        || !name.bytes().all(ok)
        || !name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
    {
        return Err(wrong(
            origin,
            format!(
                "`{name}` is no login name: up to 32 lower-case letters, digits, `-` and `_`, a letter first"
            ),
        ));
    }
    let mut ssh_keys = Vec::new();
    for entry in &user.ssh_keys {
        let text = match key_file(entry) {
            None => entry.value.clone(),
            Some(path) => inputs
                .keys
                .get(&path)
                .cloned()
                .ok_or_else(|| PlanError::not_read(&entry.origin, path.display()))?,
        };
        let lines = text.lines().map(str::trim);
        let found: Vec<String> = lines
            .filter(|l| !l.is_empty() && !l.starts_with('#'))
            .map(str::to_owned)
            .collect();
        if found.is_empty() || found.iter().any(|l| l.contains("PRIVATE KEY")) {
            return Err(wrong(
                &entry.origin,
                "this is no public key, as in `~/.ssh/id_ed25519.pub`",
            ));
        }
        ssh_keys.extend(found);
    }
    let password = match &user.password {
        None => None,
        Some(secret) => {
            let value = inputs
                .secrets
                .get(&secret.value)
                .ok_or_else(|| PlanError::not_read(&secret.origin, format!("secret {}", secret.value)))?;
            if !legacy && KNOWN_PASSWORDS.contains(&value.reveal()) {
                return Err(wrong(
                    &secret.origin,
                    format!(
                        "the secret `{}` is a password that everybody knows; choose another, or set `legacy: true` (F049)",
                        secret.value
                    ),
                ));
            }
            let hash =
                |scheme| hash_password(name, value, scheme).map_err(|e| wrong(&secret.origin, e.to_string()));
            Some(PasswordHashes {
                sha512_crypt: hash(Scheme::Sha512Crypt)?,
                yescrypt: hash(Scheme::Yescrypt)?,
            })
        }
    };
    Ok(User {
        name: name.to_owned(),
        gecos: user.gecos.clone(),
        groups: user.groups.clone(),
        sudo: user.sudo.clone(),
        shell: user.shell.clone().unwrap_or_else(|| SHELL.to_owned()),
        ssh_keys,
        password,
    })
}

fn ssh(inputs: &Inputs, view: &View<'_>) -> Result<Ssh, PlanError> {
    let settings = &view.resolved.settings.ssh;
    let mut host_key_files = None;
    if settings.host_key == Some(true) {
        let name = host_key(view);
        let secret = inputs
            .secrets
            .get(&name)
            .ok_or_else(|| PlanError::not_read(&view.spec.origin, format!("secret {name}")))?;
        let key =
            HostKey::from_openssh(&name, secret).map_err(|e| wrong(&view.spec.origin, e.to_string()))?;
        host_key_files = Some(HostKeyFiles {
            private: Content::secret(secret.reveal().as_bytes()),
            public: key.public(view.spec.hostname.as_str()),
        });
    }
    Ok(Ssh {
        enabled: settings.enabled,
        password_login: settings.password_login,
        host_key: host_key_files,
    })
}

fn interface(cluster: &ClusterSpec, inputs: &Inputs, port: &Port) -> Result<Interface, PlanError> {
    let wifi = match &port.wifi {
        None => None,
        Some((name, origin)) => {
            let known = cluster.wifi.keys().map(String::as_str);
            let network = cluster.wifi.get(name).ok_or_else(|| {
                let hint =
                    nearest(name, known.clone()).map_or(String::new(), |n| format!(", did you mean `{n}`?"));
                wrong(
                    origin,
                    format!(
                        "there is no WiFi `{name}`{hint}; the cluster file has {}",
                        list_words(known.clone())
                    ),
                )
            })?;
            let country = network.country.as_ref().ok_or_else(|| {
                wrong(
                    &network.origin,
                    format!(
                        "the WiFi `{name}` has no `country`, such as `DE`; without one radios stay off (P38)"
                    ),
                )
            })?;
            if country.value.len() != 2 || !country.value.bytes().all(|b| b.is_ascii_uppercase()) {
                return Err(wrong(
                    &country.origin,
                    format!(
                        "`{}` is no country: two capital letters, such as `DE`",
                        country.value
                    ),
                ));
            }
            if network.ssid.is_empty() || network.ssid.len() > 32 {
                return Err(wrong(&network.origin, "the name of a WiFi has 1 to 32 bytes"));
            }
            let psk = if network.open {
                None
            } else {
                let secret = psk_name(name, network);
                let value = inputs
                    .secrets
                    .get(&secret)
                    .ok_or_else(|| PlanError::not_read(&network.origin, format!("secret {secret}")))?;
                let psk = wifi_psk(&secret, &network.ssid, value)
                    .map_err(|e| wrong(&network.origin, e.to_string()))?;
                Some(psk.reveal().to_owned())
            };
            Some(Wifi {
                ssid: network.ssid.clone(),
                psk,
                country: country.value.clone(),
                hidden: network.hidden,
                power_save: port.power_save,
            })
        }
    };
    Ok(Interface {
        name: port.name.clone(),
        address: port.address.clone(),
        wifi,
        optional: port.optional,
    })
}
