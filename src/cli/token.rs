//! `token`: lets a person into a web UI for an hour (F197).

use std::time::Instant;

use serde_json::json;

use super::args;
use super::context::Context;
use super::fleet::{FIND, Fleet};
use super::message::{self, Failure, Outcome};
use crate::remote::{self, Reach};

/// `ceil-img token`
pub fn token(context: &Context, args: &args::Token) -> Result<Outcome, Failure> {
    let (namespace, account) = match (&args.namespace, &args.account) {
        (None, None) => remote::WEB_UI,
        (Some(namespace), None) => (namespace.as_str(), remote::WEB_UI.1),
        (None, Some(account)) => ("kube-system", account.as_str()),
        (Some(namespace), Some(account)) => (namespace.as_str(), account.as_str()),
    };
    let fleet = Fleet::open(context, &args.reaching, FIND)?;
    let (server, kubectl) = fleet.first_server(args.cluster.as_deref())?;
    let deadline = Instant::now() + 2 * FIND;
    let place = fleet.locate(server, Instant::now() + FIND)?;
    let duration = format!("{}s", args.duration.as_secs());
    let command = remote::token_command(kubectl, namespace, account, &duration);
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let ended = fleet.call(server, place.ip, &words, "", deadline)?;
    let why = match remote::reach(ended.code, &ended.stderr, &server.target) {
        _ if ended.late => "it took too long".to_owned(),
        Reach::Ok if ended.code == Some(0) && !ended.stdout.trim().is_empty() => {
            let token = ended.stdout.trim();
            if context.json {
                message::json(
                    &json!({"event": "token", "namespace": namespace, "account": account, "token": token}),
                )?;
            } else {
                message::line(token)?;
            }
            return Ok(Outcome::Done);
        }
        Reach::Ok => ended.stderr.trim().to_owned(),
        reach => reach.to_string(),
    };
    let failure = Failure::new(why).while_doing(format!(
        "node `{}` gives no token for the service account `{account}` in `{namespace}`",
        server.target.node
    ));
    Err(match args.account {
        None => failure.hint("the add-on `headlamp` makes this account; name another as SERVICEACCOUNT"),
        Some(_) => failure,
    })
}
