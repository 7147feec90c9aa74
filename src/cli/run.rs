//! `run`: a command on several nodes at once (F250).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::json;

use super::args;
use super::context::Context;
use super::fleet::{FIND, Fleet, Member, no_ssh};
use super::message::{self, Failure, Outcome};
use crate::remote::outside::{self, Stream};
use crate::remote::{self, Reach};

/// How a command ended on a node.
struct Ending {
    code: Option<i32>,
    /// Why it failed.
    why: Option<String>,
}

/// `ceil-img run`
pub fn run(context: &Context, args: &args::Run) -> Result<Outcome, Failure> {
    let fleet = Fleet::open(context, &args.reaching, FIND)?;
    let members = fleet.members(&args.on)?;
    let mut command = args.command.clone();
    if args.sudo {
        command.splice(0..0, ["sudo", "-n", "--"].map(str::to_owned));
    }
    let width = members.iter().map(|m| m.target.node.len()).max().unwrap_or(0);
    let next = AtomicUsize::new(0);
    let json = context.json;
    let work = || {
        let mut done = Vec::new();
        while let Some(member) = members.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((
                member.target.node.as_str(),
                on(json, &fleet, member, &command, width)?,
            ));
        }
        Ok::<_, Failure>(done)
    };
    let mut ended = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..usize::from(args.parallel).min(members.len()))
            .map(|_| scope.spawn(work))
            .collect();
        let mut ended = Vec::new();
        for worker in workers {
            let done = worker
                .join()
                .unwrap_or_else(|_| Err(Failure::new("a node could not be served")));
            ended.extend(done?);
        }
        Ok::<_, Failure>(ended)
    })?;
    ended.sort_by_key(|(node, _)| members.iter().position(|m| m.target.node == *node));
    summary(context, &ended)
}

/// Runs the command on one node.
fn on(
    json: bool,
    fleet: &Fleet,
    member: &Member,
    command: &[String],
    width: usize,
) -> Result<Ending, Failure> {
    let node = member.target.node.as_str();
    let place = match fleet.locate(member, Instant::now() + FIND) {
        Ok(place) => place,
        Err(failure) => {
            return Ok(Ending {
                code: None,
                why: Some(failure.sentence()),
            });
        }
    };
    let words = fleet.words(member, place.ip, command)?;
    let show = |stream: Stream, line: &str| {
        let shown = match (json, stream) {
            (true, _) => message::json(&json!({"event": "output", "node": node, "line": line,
                "stream": if stream == Stream::Out { "stdout" } else { "stderr" }})),
            (false, Stream::Out) => message::line(&format!("{node:<width$} | {line}")),
            (false, Stream::Err) => {
                message::words(&format!("{node:<width$} | {line}"));
                Ok(())
            }
        };
        if shown.is_err() {
            // Nobody reads any more.
            fleet.cancel.store(true, Ordering::Relaxed);
        }
    };
    let ended = outside::ssh_lines(&words, &show, &fleet.cancel).map_err(no_ssh)?;
    let why = match (
        ended.code,
        remote::reach(ended.code, &ended.stderr, &member.target),
    ) {
        (Some(0), _) => None,
        _ if remote::stops_the_node(command) && remote::connection_was_cut(&ended.stderr) => None,
        (None, _) => Some("stopped".to_owned()),
        (Some(code), Reach::Ok) => Some(format!("exit code {code}")),
        (_, reach) => Some(reach.to_string()),
    };
    Ok(Ending {
        code: ended.code,
        why,
    })
}

fn summary(context: &Context, ended: &[(&str, Ending)]) -> Result<Outcome, Failure> {
    let mut failed = Vec::new();
    for (node, result) in ended {
        if context.json {
            message::json(
                &json!({"event": "ran", "node": node, "ok": result.why.is_none(), "code": result.code,
                "why": result.why}),
            )?;
        }
        if let Some(why) = &result.why {
            failed.push(format!("{node} ({why})"));
        }
    }
    let well = ended.len() - failed.len();
    if failed.is_empty() {
        context.note(&format!("done on {well} of {} nodes", ended.len()));
        return Ok(Outcome::Done);
    }
    if !context.json {
        message::words(&format!(
            "done on {well} of {} nodes; failed on {}",
            ended.len(),
            failed.join(", ")
        ));
    }
    Ok(Outcome::Different)
}
