//! `kubeconfig`: the administrator's, from the secrets of the cluster or from its first server (F118).

use std::path::Path;
use std::time::Instant;

use serde_json::json;

use super::args;
use super::build::kubeconfig_path;
use super::context::Context;
use super::fleet::{FIND, Fleet, choose_cluster};
use super::message::{self, Failure, Outcome};
use super::plan::{Remember, read_settings};
use super::secrets::add_secrets;
use crate::emit::Output;
use crate::planner;
use crate::remote::{self, Reach};
use crate::secrets::Secret;

/// `ceil-img kubeconfig`
pub fn kubeconfig(context: &Context, args: &args::Kubeconfig) -> Result<Outcome, Failure> {
    let (name, own, text) = if args.fetch {
        fetched(context, args)?
    } else {
        made(context, args)?
    };
    let path = match &args.out {
        Some(path) if path == Path::new("-") => {
            if context.json {
                message::json(&json!({"event": "kubeconfig", "cluster": name, "text": text.reveal()}))?;
            } else {
                message::line(text.reveal().trim_end())?;
            }
            return Ok(Outcome::Done);
        }
        Some(path) => path.clone(),
        None => kubeconfig_path(Path::new(""), &name, &own),
    };
    Output::private(&path, text.reveal().as_bytes())?.finish()?;
    if context.json {
        message::json(&json!({"event": "kubeconfig", "cluster": name, "file": path.display().to_string()}))?;
    } else {
        message::line(&path.display().to_string())?;
    }
    Ok(Outcome::Done)
}

/// Name of the cluster, of the file's own one, and the kubeconfig as `build` makes it; what it rests on is made as
/// well when it is not there.
fn made(context: &Context, args: &args::Kubeconfig) -> Result<(String, String, Secret), Failure> {
    let (cluster, mut inputs) = read_settings(context, &args.reaching.file)?;
    add_secrets(context, &cluster, &mut inputs, Remember::Yes)?;
    let all = planner::kubeconfigs(&cluster, &inputs)?;
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    let name = choose_cluster(&cluster, &names, args.cluster.as_deref())?;
    let text = all
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, text)| text.clone());
    text.map(|text| (name.to_owned(), cluster.name.to_string(), text))
        .ok_or_else(|| Failure::new(format!("{}: there is no cluster `{name}`", cluster.file)))
}

/// The same with the kubeconfig that the first server has.
fn fetched(context: &Context, args: &args::Kubeconfig) -> Result<(String, String, Secret), Failure> {
    let fleet = Fleet::open(context, &args.reaching, FIND)?;
    let (server, kubectl) = fleet.first_server(args.cluster.as_deref())?;
    let deadline = Instant::now() + FIND;
    let place = fleet.locate(server, deadline)?;
    let command = ["sudo", "-n", "cat", kubectl.config()];
    let ended = fleet.call(server, place.ip, &command, "", deadline)?;
    let node = &server.target.node;
    let told = || format!("node `{node}` does not give its `{}`", kubectl.config());
    if ended.late {
        return Err(Failure::new("it took too long").while_doing(told()));
    }
    match remote::reach(ended.code, &ended.stderr, &server.target) {
        Reach::Ok if ended.code == Some(0) => {}
        Reach::Ok => return Err(Failure::new(ended.stderr.trim().to_owned()).while_doing(told())),
        reach => return Err(Failure::new(reach.to_string()).while_doing(told())),
    }
    let lan = server.target.planned.or(place.ip).ok_or_else(|| {
        Failure::new(format!("node `{node}` has no fixed address")).hint("leave out `--ssh-config`")
    })?;
    let text = remote::with_server(&ended.stdout, lan).map_err(|e| Failure::from(e).while_doing(told()))?;
    let own = fleet.spec.name.to_string();
    Ok((server.cluster().to_owned(), own, Secret::new(text)))
}
