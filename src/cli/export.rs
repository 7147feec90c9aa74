//! `export`: a cluster for other programs.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::{self, ExportWhat};
use super::bundle;
use super::context::Context;
use super::message::{self, Failure, Outcome};
use super::plan::{Remember, read_settings};
use super::secrets::{add_secrets, host_keys};
use crate::emit::Output;
use crate::export;
use crate::inputs::{self, Reading};
use crate::planner;
use crate::secrets::Secret;
use crate::spec::{ClusterSpec, Inputs, nearest};

/// `ceil-img export`
pub fn export(context: &Context, args: &args::Export) -> Result<Outcome, Failure> {
    let (cluster, inputs) = read_settings(context, &args.file)?;
    let views = planner::views(&cluster, &inputs)?;
    let text = match &args.what {
        ExportWhat::KnownHosts => {
            let (keys, missing) = host_keys(&args.file, &cluster, &inputs)?;
            if let Some(name) = missing.first() {
                return Err(Failure::new(format!("the host key `{name}` is not there yet"))
                    .hint("`ceil-img build` makes it"));
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
        ExportWhat::JoinBundle { node, out } => {
            let usual = || PathBuf::from(format!("{node}-join.tar"));
            let out = out.clone().unwrap_or_else(usual);
            return bundle::join_bundle(context, &args.file, node, &out);
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
        ExportWhat::Routes { via } => export::routes(&cluster, &views, *via)
            .map_err(|none| Failure::new(none.to_string()).hint(none.remedy()))?,
        ExportWhat::Wireguard { client, out } => {
            return wireguard(context, cluster, inputs, client.as_deref(), out.as_deref());
        }
    };
    if context.json {
        message::json(&json!({"event": "export", "text": text}))?;
    } else {
        message::line(text.trim_end())?;
    }
    Ok(Outcome::Done)
}

/// `ceil-img export wireguard`: keys that are not there yet are made, as `build` makes them.
fn wireguard(
    context: &Context,
    cluster: ClusterSpec,
    mut inputs: Inputs,
    client: Option<&str>,
    out: Option<&Path>,
) -> Result<Outcome, Failure> {
    add_secrets(context, &cluster, &mut inputs, Remember::Yes)?;
    let mut files = wireguard_files(context, &cluster, &mut inputs)?;
    if files.is_empty() {
        return Err(Failure::new(format!("{}: there are no VPN clients", cluster.file))
            .hint("give the router `overlays: [wireguard]` and `services: {wireguard: {clients: [laptop], endpoint: …}}`"));
    }
    if let Some(client) = client {
        let known: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
        files.retain(|(name, _)| name == client);
        if files.is_empty() {
            let near = nearest(client, known.iter().map(String::as_str))
                .map_or(String::new(), |n| format!(", did you mean `{n}`?"));
            return Err(Failure::new(format!(
                "{}: there is no VPN client `{client}`{near}",
                cluster.file
            ))
            .hint(format!("its clients are {}", known.join(", "))));
        }
    }
    for (name, text) in &files {
        match out {
            Some(dir) => {
                let path = dir.join(format!("{name}.conf"));
                Output::private(&path, text.reveal().as_bytes())?.finish()?;
                if context.json {
                    message::json(
                        &json!({"event": "export", "client": name, "file": path.display().to_string()}),
                    )?;
                } else {
                    message::line(&path.display().to_string())?;
                }
            }
            None if context.json => message::json(&json!({"event": "export", "text": text.reveal()}))?,
            None => message::line(text.reveal().trim_end())?,
        }
    }
    Ok(Outcome::Done)
}

/// The files of all VPN clients of a cluster, by the clients' names; the secrets are there already.
pub fn wireguard_files(
    context: &Context,
    cluster: &ClusterSpec,
    inputs: &mut Inputs,
) -> Result<Vec<(String, Secret)>, Failure> {
    let reading = Reading {
        memo: &inputs::NoMemo,
        reporter: &*context.reporter,
    };
    inputs::read_overlay(cluster, planner::CLIENT_OVERLAY, inputs, reading)?;
    let epoch = planner::epoch(cluster, context.source_date_epoch()?);
    Ok(planner::wireguard_clients(cluster, inputs, epoch)?)
}
