use serde_json::Value as Json;

use crate::spec::yaml::{self, Kind};

use super::{Finding, Release, schema, sorted};

/// Keys of an entry of `wifis` besides those of an Ethernet interface, which netplan reads.
const WIFI: [&str; 4] = ["access-points", "regulatory-domain", "wakeonwlan", "auth"];

/// Keys of an access point.
const ACCESS_POINT: [&str; 8] = [
    "password",
    "mode",
    "bssid",
    "band",
    "channel",
    "hidden",
    "auth",
    "networkmanager",
];

/// What cloud-init of a version would refuse in a `network-config`; of any current one without a version.
#[must_use]
pub fn check_network_config(text: &str, version: Option<&str>) -> Vec<Finding> {
    let release = version.and_then(Release::parse);
    let document = match yaml::parse("network-config", text) {
        Ok(document) => document,
        Err(e) => return vec![Finding::new(Some(e.mark.line), &e.key, e.message)],
    };
    if document.is_null() {
        return Vec::new();
    }
    let Kind::Map(entries) = &document.kind else {
        return vec![Finding::new(
            Some(document.mark.line),
            "",
            "a network-config is a map of keys",
        )];
    };
    let mut json = schema::json(&document);
    if let Some(inner) = json.get_mut("network")
        && inner.get("config") == Some(&Json::String("disabled".to_owned()))
    {
        return Vec::new();
    }
    let line = entries.first().map(|(key, _)| key.mark.line);
    let body = if json.get("network").is_some() {
        json.get("network")
    } else {
        Some(&json)
    };
    let number = body.and_then(|body| body.get("version")).and_then(Json::as_u64);
    let mut findings = Vec::new();
    if release.as_ref().is_some_and(|r| !r.at_least(&[0, 7, 9])) {
        findings.push(Finding::new(
            line,
            "",
            "cloud-init before 0.7.9 reads no network-config",
        ));
    }
    let validator = match number {
        Some(1) => schema::network_v1(),
        Some(2) => {
            if release.as_ref().is_some_and(Release::is_old) {
                findings.push(Finding::new(
                    line,
                    "version",
                    "version 2 came with cloud-init 17.1; write version 1",
                ));
            }
            let wifis = if json.get("network").is_some() {
                json.get_mut("network")
            } else {
                Some(&mut json)
            };
            if let Some(body) = wifis {
                join_wifis(body, &mut findings);
            }
            schema::network_v2()
        }
        _ => {
            findings.push(Finding::new(
                line,
                "version",
                "the version is missing; it is 1 or 2",
            ));
            return findings;
        }
    };
    findings.extend(schema::check(validator, &json, &document));
    sorted(findings)
}

/// The schema leaves WiFi to netplan: what an interface of WiFi has besides an Ethernet one is checked here, the rest
/// as if it were one.
fn join_wifis(body: &mut Json, findings: &mut Vec<Finding>) {
    let Some(body) = body.as_object_mut() else { return };
    let Some(Json::Object(wifis)) = body.shift_remove("wifis") else {
        return;
    };
    let mut plain = serde_json::Map::new();
    for (name, mut wifi) in wifis {
        if let Some(members) = wifi.as_object_mut() {
            match members.get("access-points").and_then(Json::as_object) {
                Some(points) if !points.is_empty() => {
                    for (_, point) in points {
                        for key in point.as_object().into_iter().flat_map(|p| p.keys()) {
                            if !ACCESS_POINT.contains(&key.as_str()) {
                                let path = format!("wifis.{name}.access-points");
                                findings.push(Finding::new(
                                    None,
                                    &path,
                                    format!("netplan knows no `{key}` here"),
                                ));
                            }
                        }
                    }
                }
                _ => findings.push(Finding::new(
                    None,
                    &format!("wifis.{name}"),
                    "`access-points` is missing: a map of names of networks",
                )),
            }
            members.retain(|key, _| !WIFI.contains(&key.as_str()));
        }
        plain.insert(name, wifi);
    }
    let ethernets = body
        .entry("ethernets")
        .or_insert_with(|| Json::Object(serde_json::Map::new()));
    if let Some(ethernets) = ethernets.as_object_mut() {
        ethernets.extend(plain);
    }
}
