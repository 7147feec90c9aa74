//! The file of secrets beside a cluster file: looked up by commands that plan, checked and changed by `secrets`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::{self, SecretsAction};
use super::context::Context;
use super::message::{self, Failure, Outcome};
use super::plan::{Remember, read_settings};
use crate::inputs::{Resolver, SecretFile};
use crate::planner;
use crate::secrets::{HostKey, Kind, Secret, Source};
use crate::spec::{ClusterSpec, Inputs, nearest};

/// Name of the file of secrets, beside the cluster file.
pub const SECRETS_FILE: &str = "secrets.yaml";

/// The file of secrets of a cluster file.
pub fn secrets_path(cluster: &Path) -> PathBuf {
    cluster.with_file_name(SECRETS_FILE)
}

fn random(buf: &mut [u8]) -> io::Result<()> {
    getrandom::fill(buf).map_err(io::Error::from)
}

/// The secret of a name; made, but not yet written, when it is not there.
///
/// # Errors
/// It is malformed, missing, or its source gives nothing.
pub fn look_up(file: &mut SecretFile, name: &str, kind: Kind) -> Result<Secret, Failure> {
    let mut outside = Resolver {
        variable: &|name| std::env::var(name).ok(),
        fill: &mut random,
    };
    Ok(file.store.get(name, kind, &mut outside)?)
}

/// Looks up the secrets that the nodes need. What is not there is made; a command that promises to write nothing
/// forgets it again.
///
/// # Errors
/// As [`look_up`], or the file cannot be written.
pub fn add_secrets(
    context: &Context,
    cluster: &ClusterSpec,
    inputs: &mut Inputs,
    remember: Remember,
) -> Result<(), Failure> {
    let needed = planner::needed_secrets(cluster, inputs)?;
    if needed.is_empty() {
        return Ok(());
    }
    let path = secrets_path(Path::new(&cluster.file));
    let mut file = SecretFile::open(&path)?;
    for (name, kind) in needed {
        let value = look_up(&mut file, &name, kind)?;
        inputs.secrets.insert(name, value);
    }
    let made = file.store.made().len();
    if made == 0 {
        return Ok(());
    }
    if remember == Remember::No {
        context.note(&format!(
            "{made} secrets are not there yet and are made by `build`; until then the digest of the plan changes from run to run"
        ));
        return Ok(());
    }
    file.save()?;
    context.note(&format!(
        "made {made} secrets in `{}`; keep it, whoever has it owns the cluster",
        path.display()
    ));
    Ok(())
}

/// Host keys that are there, by the names of their nodes; and the names of those that are still to be made.
///
/// # Errors
/// As [`look_up`].
pub fn host_keys(
    file: &Path,
    cluster: &ClusterSpec,
    inputs: &Inputs,
) -> Result<(BTreeMap<String, HostKey>, Vec<String>), Failure> {
    let mut keys = BTreeMap::new();
    let mut missing = Vec::new();
    let needed = planner::needed_secrets(cluster, inputs)?;
    let mut file = SecretFile::open(&secrets_path(file))?;
    for (name, _) in needed.iter().filter(|(_, kind)| **kind == Kind::SshHostKey) {
        if !file.store.sources().any(|(known, _)| known == name) {
            missing.push(name.clone());
            continue;
        }
        let secret = look_up(&mut file, name, Kind::SshHostKey)?;
        let node = name.trim_start_matches("ssh.").to_owned();
        keys.insert(node, HostKey::from_openssh(name, &secret)?);
    }
    Ok((keys, missing))
}

/// Secrets that stand in the file themselves, for commands that only look.
///
/// # Errors
/// The file is there and wrong.
pub fn plain_secrets(cluster: &Path) -> Result<BTreeMap<String, Secret>, Failure> {
    let path = secrets_path(cluster);
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let file = SecretFile::open(&path)?;
    let plain = file.store.sources().filter_map(|(name, source)| match source {
        Source::Value(value) => Some((name.to_owned(), value.clone())),
        _ => None,
    });
    Ok(plain.collect())
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
                    (true, _) => match look_up(&mut file, name, *kind) {
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
            file.store.rotate(name, *kind, &mut random)?;
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
