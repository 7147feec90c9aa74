use crate::spec::yaml::{self, Kind, Value};

use super::{Finding, Release, old, schema, sorted};

/// First words of the forms of user-data that are no cloud-config, as cloud-init's handlers tell them.
const OTHERS: [&str; 9] = [
    "#!",
    "#include",
    "#cloud-boothook",
    "#part-handler",
    "#cloud-config-archive",
    "#cloud-config-jsonp",
    "#upstart-job",
    "Content-Type:",
    "MIME-Version:",
];

/// Keys that count at the top level only, and where people put them (P61).
const TOP_ONLY: [&str; 7] = [
    "ssh_pwauth",
    "chpasswd",
    "disable_root",
    "packages",
    "package_upgrade",
    "runcmd",
    "write_files",
];

/// What cloud-init of a version would refuse or pass over in a `user-data`; of any current one without a version. Other
/// forms than cloud-config, such as scripts, are not looked into.
#[must_use]
pub fn check_user_data(text: &str, version: Option<&str>) -> Vec<Finding> {
    let release = version.and_then(Release::parse);
    let first = text.lines().next().unwrap_or_default().trim_end();
    if text.trim().is_empty() || OTHERS.iter().any(|word| first.starts_with(word)) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let template = first == "## template: jinja";
    let header = if template {
        text.lines().nth(1).unwrap_or_default().trim_end()
    } else {
        first
    };
    if header != "#cloud-config" {
        findings.push(Finding::new(
            Some(if template { 2 } else { 1 }),
            "",
            "the first line must be `#cloud-config`; without it cloud-init passes the file over",
        ));
    }
    if template {
        return findings;
    }
    let document = match yaml::parse("user-data", text) {
        Ok(document) => document,
        Err(e) => {
            findings.push(Finding::new(Some(e.mark.line), &e.key, e.message));
            return findings;
        }
    };
    if document.is_null() {
        return findings;
    }
    let Kind::Map(entries) = &document.kind else {
        findings.push(Finding::new(
            Some(document.mark.line),
            "",
            "a cloud-config is a map of keys",
        ));
        return findings;
    };
    misplaced(entries, &mut findings);
    by_release(&document, release.as_ref(), &mut findings);
    let told: Vec<String> = findings.iter().map(|f| f.key.clone()).collect();
    let mut json = schema::json(&document);
    if let Some(members) = json.as_object_mut() {
        // Not in the schema: a key of Raspberry Pi's that came later, two of the system's own, and what 0.7 called
        // the sources of packages.
        for key in [
            "rpi",
            "datasource",
            "datasource_list",
            "apt_sources",
            "apt_mirror",
            "apt_proxy",
            "apt_preserve_sources_list",
        ] {
            members.shift_remove(key);
        }
    }
    let more = schema::check(schema::cloud_config(), &json, &document);
    findings.extend(more.into_iter().filter(|f| !told.contains(&f.key)));
    sorted(findings)
}

type Entries = [(yaml::Key, Value)];

/// The maps in a list, or the one map, below a key, with their paths.
fn maps<'v>(key: &str, value: &'v Value) -> Vec<(String, &'v Entries)> {
    match &value.kind {
        Kind::Map(entries) => vec![(key.to_owned(), entries)],
        Kind::List(items) => items
            .iter()
            .enumerate()
            .filter_map(|(i, item)| match &item.kind {
                Kind::Map(entries) => Some((format!("{key}[{i}]"), entries.as_slice())),
                _ => None,
            })
            .collect(),
        Kind::Scalar { .. } => Vec::new(),
    }
}

fn misplaced(entries: &Entries, findings: &mut Vec<Finding>) {
    for (key, value) in entries
        .iter()
        .filter(|(key, _)| matches!(key.text.as_str(), "users" | "user"))
    {
        for (path, user) in maps(&key.text, value) {
            for (inner, _) in user {
                if TOP_ONLY.contains(&inner.text.as_str()) {
                    findings.push(Finding::new(
                        Some(inner.mark.line),
                        &format!("{path}.{}", inner.text),
                        format!(
                            "cloud-init does not look for `{0}` under a user; move it to the top level",
                            inner.text
                        ),
                    ));
                }
            }
        }
    }
    for (key, _) in entries {
        let advice = match key.text.as_str() {
            "enable_ssh" => {
                "cloud-init has no such key and says nothing; enable the unit of the SSH server instead"
            }
            "instance-id" | "local-hostname" => "this key belongs into meta-data",
            "network" | "ethernets" | "wifis" => "this key belongs into network-config",
            _ => continue,
        };
        findings.push(Finding::new(Some(key.mark.line), &key.text, advice));
    }
}

fn by_release(document: &Value, release: Option<&Release>, findings: &mut Vec<Finding>) {
    let (Some(release), Kind::Map(entries)) = (release, &document.kind) else {
        return;
    };
    let mut lists: Vec<(&str, String, &Entries)> = vec![("", String::new(), entries)];
    for (key, value) in entries {
        if matches!(key.text.as_str(), "users" | "user" | "write_files" | "chpasswd") {
            lists.extend(
                maps(&key.text, value)
                    .into_iter()
                    .map(|(path, map)| (key.text.as_str(), path, map)),
            );
        }
    }
    for (list, path, map) in lists {
        for (key, _) in map {
            let name = key.text.as_str();
            let shown = if path.is_empty() {
                name.to_owned()
            } else {
                format!("{path}.{name}")
            };
            if findings.iter().any(|f| f.key == shown) {
                continue;
            }
            let since = old::SINCE
                .iter()
                .find(|(l, k, _)| *l == list && *k == name)
                .map(|(_, _, since)| since);
            let message = match since {
                Some(since) if !release.at_least(since) => {
                    format!(
                        "this key came with cloud-init {}.{}; the base has {release}",
                        since[0], since[1]
                    )
                }
                None if release.is_old() && !old::knows(list, name, release.at_least(&[0, 7, 9])) => {
                    format!("cloud-init {release} of the base does not know this key")
                }
                _ => continue,
            };
            findings.push(Finding::new(Some(key.mark.line), &shown, message));
        }
    }
}
