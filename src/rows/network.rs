//! WiFi, the names of the node itself, addresses that a router gives and whom it asks.

use std::net::Ipv4Addr;

use crate::fs::Follow;
use crate::spec::Role;

use super::case::find;
use super::text::{plain_lines, strings, yaml};
use super::{Case, Judged, Row, Stop, applies, fails, holds};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: "F091",
        title: "the WiFi is known by name, with a hashed key that only root reads",
        judge: f091,
    },
    Row {
        id: "F092",
        title: "the radio knows its country",
        judge: f092,
    },
    Row {
        id: "F142",
        title: "the router keeps an address for every member with a known MAC",
        judge: f142,
    },
    Row {
        id: "F145",
        title: "the router asks the resolvers that the cluster file names",
        judge: f145,
    },
    Row {
        id: "P63",
        title: "the loopback name of the node is its own",
        judge: p63,
    },
];

/// Places where a WiFi network stands, as text, with whether modes protect it.
fn places(case: &Case<'_>) -> Result<Vec<(String, String, bool)>, Stop> {
    let mut found = Vec::new();
    if let Some(seed) = case.facts.cloud_init.as_ref().and_then(|c| c.seed.as_ref()) {
        let path = format!("{}/network-config", seed.dir());
        let text = super::case::text(case.boot, &path)?;
        found.extend(text.map(|t| (format!("boot:{path}"), t, false)));
    }
    for dir in [
        "/etc/NetworkManager/system-connections",
        "/etc/wpa_supplicant",
        "/etc/netplan",
        "/var/lib/cloud/seed/nocloud-net",
    ] {
        for (path, text) in case.texts_below(dir, "")? {
            found.push((path, text, true));
        }
    }
    Ok(found)
}

/// Forms of a network's name: as text, in hexadecimal, as a list of bytes.
fn forms(ssid: &str) -> [String; 3] {
    let hex: String = ssid.bytes().map(|b| format!("{b:02x}")).collect();
    let list: String = ssid.bytes().map(|b| format!("{b};")).collect();
    [ssid.to_owned(), format!("ssid={hex}"), format!("ssid={list}")]
}

fn f091(case: &Case<'_>) -> Judged {
    let node = case.node()?;
    let wanted: Vec<_> = node.view.ports.iter().filter_map(|p| p.wifi.as_ref()).collect();
    applies(!wanted.is_empty())?;
    let places = places(case)?;
    for (name, _) in wanted {
        let Some(network) = node.cluster.wifi.get(name) else {
            continue;
        };
        let forms = forms(&network.value.ssid);
        let named = |text: &str| {
            forms.iter().any(|form| text.contains(form.as_str()))
                || yaml("", text).is_ok_and(|data| {
                    data.to_string()
                        .contains(&serde_json::Value::from(network.value.ssid.as_str()).to_string())
                })
        };
        let found: Vec<_> = places.iter().filter(|(_, text, _)| named(text)).collect();
        holds(!found.is_empty(), || {
            format!("no plan of the network has the WiFi `{name}`")
        })?;
        if network.value.open {
            continue;
        }
        for (path, text, strict) in found {
            let hashed = text
                .split(|c: char| !c.is_ascii_alphanumeric())
                .any(|word| word.len() == 64 && word.bytes().all(|b| b.is_ascii_hexdigit()));
            holds(hashed, || {
                format!("`{path}` has no hashed key of the WiFi `{name}`")
            })?;
            if *strict {
                let mode = find(case.root, path, Follow::Last)?.map_or(0o777, |(_, stat)| stat.mode);
                holds(mode == 0o600, || {
                    format!("`{path}` holds a key of the WiFi and has mode {mode:04o}, not 0600")
                })?;
            }
        }
    }
    Ok(())
}

fn f092(case: &Case<'_>) -> Judged {
    let node = case.node()?;
    let networks: Vec<_> = node
        .view
        .ports
        .iter()
        .filter_map(|p| node.cluster.wifi.get(&p.wifi.as_ref()?.0))
        .collect();
    applies(!networks.is_empty())?;
    let words = case.kernel_words()?;
    let places = places(case)?;
    for network in networks {
        let Some(country) = network.value.country.as_ref().map(|c| c.value.as_str()) else {
            return fails("a WiFi network has no country");
        };
        let by_kernel = words
            .iter()
            .any(|w| *w == format!("cfg80211.ieee80211_regdom={country}"));
        let by_plan = places.iter().any(|(_, text, _)| {
            plain_lines(text).any(|l| {
                let flat: String = l.chars().filter(|c| !c.is_whitespace() && *c != '"').collect();
                flat == format!("regulatory-domain:{country}") || flat == format!("country={country}")
            })
        });
        holds(by_kernel || by_plan, || {
            format!("neither the kernel command line nor a plan of the network says the country {country}")
        })?;
    }
    Ok(())
}

/// Lines of dnsmasq's settings.
fn dnsmasq(case: &Case<'_>) -> Result<Vec<String>, Stop> {
    let mut lines = Vec::new();
    let mut texts = case.texts_below("/etc/dnsmasq.d", "")?;
    texts.extend(case.text("/etc/dnsmasq.conf")?.map(|t| (String::new(), t)));
    for (_, text) in texts {
        lines.extend(plain_lines(&text).map(str::to_owned));
    }
    Ok(lines)
}

/// Whether a service of the router is on.
fn serves(case: &Case<'_>, name: &str) -> Result<bool, Stop> {
    let node = case.node()?;
    let off = node
        .settings()
        .services
        .get(name)
        .is_some_and(|s| s.value.get("enabled") == Some(&false.into()));
    Ok(node.view.role() == Role::Router && node.overlaid("router") && !off)
}

fn f142(case: &Case<'_>) -> Judged {
    applies(serves(case, "dhcp")?)?;
    let node = case.node()?;
    let others: Vec<_> = node
        .views
        .iter()
        .filter(|v| v.spec.name != node.view.spec.name && v.port().mac.is_some())
        .collect();
    applies(!others.is_empty())?;
    let lines = dnsmasq(case)?;
    let hosts: Vec<Vec<&str>> = lines
        .iter()
        .filter_map(|l| l.strip_prefix("dhcp-host="))
        .map(|l| l.split(',').map(str::trim).collect())
        .collect();
    let network = &node.cluster.network;
    for view in others {
        let mac = view.port().mac.map(|m| m.to_string()).unwrap_or_default();
        let name = &view.spec.name;
        let found: Vec<_> = hosts
            .iter()
            .filter(|words| words.iter().any(|w| w.eq_ignore_ascii_case(&mac)))
            .collect();
        let [words] = found[..] else {
            return fails(format!(
                "`{name}` ({mac}) has {} reservations, not one",
                found.len()
            ));
        };
        let address = words.iter().find_map(|w| w.parse::<Ipv4Addr>().ok());
        let wanted = view.ip();
        holds(address.map(Into::into) == wanted, || {
            format!("`{name}` ({mac}) is kept {address:?}, and the cluster file says {wanted:?}")
        })?;
        let Some(address) = address else { continue };
        if let Some(lan) = &network.lan {
            holds(lan.value.contains(address), || {
                format!("the address {address} of `{name}` is not in {}", lan.value)
            })?;
        }
        if let Some(pool) = &network.dhcp_pool {
            holds(!pool.value.contains(address), || {
                format!("the address {address} of `{name}` is in the pool that is given to anybody")
            })?;
        }
    }
    Ok(())
}

fn f145(case: &Case<'_>) -> Judged {
    applies(serves(case, "dns")?)?;
    let node = case.node()?;
    let told = node
        .settings()
        .services
        .get("dns")
        .and_then(|s| s.value.get("upstream"));
    let own: Vec<String> = std::iter::once("127.0.0.1".to_owned())
        .chain(node.view.ip().map(|ip| ip.to_string()))
        .collect();
    let mut wanted: Vec<String> = match told {
        Some(list) => strings(list).into_iter().map(str::to_owned).collect(),
        None => node.cluster.network.dns.iter().map(ToString::to_string).collect(),
    };
    wanted.retain(|ip| !own.contains(ip));
    applies(!wanted.is_empty())?;
    let lines = dnsmasq(case)?;
    let mut found: Vec<String> = lines
        .iter()
        .filter_map(|l| l.strip_prefix("server="))
        .filter(|s| !s.starts_with('/'))
        .map(str::to_owned)
        .collect();
    wanted.sort();
    found.sort();
    holds(found == wanted, || {
        format!(
            "the router asks {}, and the cluster file names {}",
            found.join(", "),
            wanted.join(", ")
        )
    })?;
    holds(lines.iter().any(|l| l == "no-resolv"), || {
        "the router asks the resolvers of its uplink, too: `no-resolv` is missing".to_owned()
    })
}

fn p63(case: &Case<'_>) -> Judged {
    let hosts = case.text("/etc/hosts")?.unwrap_or_default();
    let line = plain_lines(&hosts).find(|l| l.split_whitespace().next() == Some("127.0.1.1"));
    let Some(line) = line else {
        return Err(Stop::NotHere);
    };
    let names: Vec<&str> = line
        .split('#')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .collect();
    let own = match case.node {
        Some(node) => node.view.spec.hostname.to_string(),
        None => match case.text("/etc/hostname")? {
            Some(name) => name.trim().to_owned(),
            None => return case.node().map(drop),
        },
    };
    let short = own.split('.').next().unwrap_or_default();
    holds(names.iter().any(|n| *n == own || *n == short), || {
        format!(
            "127.0.1.1 is called `{}`, and the node is `{own}`",
            names.join(" ")
        )
    })
}
