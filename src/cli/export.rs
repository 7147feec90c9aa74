//! `export` and `secrets`: a cluster for other programs, and the file of its secrets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::{self, ExportWhat, SecretsAction};
use super::context::Context;
use super::message::{self, Failure, Outcome};
use super::plan::{SECRETS_FILE, read_settings};
use crate::export;
use crate::inputs::{Resolver, SecretFile};
use crate::planner;
use crate::secrets::{HostKey, Kind};
use crate::spec::nearest;

/// `ceil-img export`
pub fn export(context: &Context, args: &args::Export) -> Result<Outcome, Failure> {
    let (cluster, inputs) = read_settings(context, &args.file)?;
    let views = planner::views(&cluster, &inputs)?;
    let text = match &args.what {
        ExportWhat::KnownHosts => {
            let mut keys = BTreeMap::new();
            let needed = planner::needed_secrets(&cluster, &inputs)?;
            let mut file = SecretFile::open(&secrets_path(&args.file))?;
            for (name, _) in needed.iter().filter(|(_, kind)| **kind == Kind::SshHostKey) {
                if !file.store.sources().any(|(known, _)| known == name) {
                    return Err(Failure::new(format!("the host key `{name}` is not there yet"))
                        .hint("`ceil-img build` makes it"));
                }
                let secret = get(&mut file, name, Kind::SshHostKey)?;
                let node = name.trim_start_matches("ssh.").to_owned();
                keys.insert(node, HostKey::from_openssh(name, &secret)?);
            }
            if keys.is_empty() {
                return Err(Failure::new("no node has a host key that is made at build")
                    .hint("set `ssh: {host-key: true}` in `defaults`"));
            }
            export::known_hosts(&cluster, &views, &keys)
        }
        ExportWhat::SshConfig { known_hosts } => {
            let path = known_hosts.as_ref().map(|p| p.display().to_string());
            export::ssh_config(&cluster, &views, path.as_deref())
        }
        ExportWhat::Hosts => export::hosts(&cluster, &views),
        ExportWhat::Inventory => export::inventory(&cluster, &views),
        ExportWhat::Tfvars { kubeconfig } => {
            let path = kubeconfig.as_ref().map(|p| p.display().to_string());
            export::tfvars(&cluster, &views, path.as_deref())
        }
        ExportWhat::Reservations { format } => {
            let (text, missing) = export::reservations(&cluster, &views, (*format).into());
            if !missing.is_empty() {
                context.warn(&format!(
                    "left out, for want of a `mac` or a fixed address: {}",
                    missing.join(", ")
                ));
            }
            text
        }
    };
    if context.json {
        message::json(&json!({"event": "export", "text": text}))?;
    } else {
        message::line(text.trim_end())?;
    }
    Ok(Outcome::Done)
}

fn secrets_path(cluster: &Path) -> PathBuf {
    cluster.with_file_name(SECRETS_FILE)
}

fn get(file: &mut SecretFile, name: &str, kind: Kind) -> Result<crate::secrets::Secret, Failure> {
    let mut fill = |buf: &mut [u8]| getrandom::fill(buf).map_err(std::io::Error::from);
    let mut outside = Resolver {
        variable: &|name| std::env::var(name).ok(),
        fill: &mut fill,
    };
    Ok(file.store.get(name, kind, &mut outside)?)
}

/// `ceil-img secrets`
pub fn secrets(context: &Context, args: &args::Secrets) -> Result<Outcome, Failure> {
    let (cluster, inputs) = read_settings(context, &args.file)?;
    let needed = planner::needed_secrets(&cluster, &inputs)?;
    let path = secrets_path(&args.file);
    let mut file = SecretFile::open(&path)?;
    match &args.action {
        SecretsAction::Check => {
            let mut outcome = Outcome::Done;
            let mut known: Vec<String> = file.store.sources().map(|(name, _)| name.to_owned()).collect();
            known.retain(|name| !needed.contains_key(name));
            for (name, kind) in &needed {
                let there = file.store.sources().any(|(known, _)| known == name);
                let state = match (there, kind) {
                    (true, _) => match get(&mut file, name, *kind) {
                        Ok(_) => "there".to_owned(),
                        Err(e) => {
                            outcome = Outcome::Different;
                            e.render().trim_start_matches("error: ").to_owned()
                        }
                    },
                    (false, Kind::Given) => {
                        outcome = Outcome::Different;
                        "missing: only you know it".to_owned()
                    }
                    (false, _) => "made by the next build".to_owned(),
                };
                show(context, name, &state)?;
            }
            for name in known {
                show(context, &name, "not used by this cluster")?;
            }
            Ok(outcome)
        }
        SecretsAction::Rotate { name } => {
            let kind = needed.get(name).ok_or_else(|| {
                let hint = nearest(name, needed.keys().map(String::as_str))
                    .map_or(String::new(), |n| format!(", did you mean `{n}`?"));
                Failure::new(format!("the cluster has no secret `{name}`{hint}"))
                    .hint("`ceil-img secrets check` lists them")
            })?;
            let mut fill = |buf: &mut [u8]| getrandom::fill(buf).map_err(std::io::Error::from);
            file.store.rotate(name, *kind, &mut fill)?;
            file.save()?;
            context.note(&format!(
                "`{name}` has a new value in `{}`; build the images that hold it anew",
                path.display()
            ));
            Ok(Outcome::Done)
        }
    }
}

fn show(context: &Context, name: &str, state: &str) -> Result<(), Failure> {
    if context.json {
        message::json(&json!({"event": "secret", "name": name, "state": state}))?;
    } else {
        message::line(&format!("{name}: {state}"))?;
    }
    Ok(())
}
