//! `status`: where the running nodes are and how they do (F161, F249).

use std::time::Instant;

use serde_json::json;

use super::args;
use super::context::Context;
use super::fleet::{Fleet, Member};
use super::message::{self, Failure, Outcome};
use crate::remote::{self, Facts, PROBE, Reach, Ready, Way};

/// What became of a node.
struct Seen {
    node: String,
    address: Option<String>,
    /// `None` where it was not found, or stands in a file of the user.
    way: Option<Way>,
    reach: Reach,
    facts: Option<Facts>,
}

impl Seen {
    fn is_well(&self) -> bool {
        self.reach == Reach::Ok && self.facts.as_ref().is_some_and(|f| f.ready == Ready::Yes)
    }
}

/// `ceil-img status`
pub fn status(context: &Context, args: &args::Status) -> Result<Outcome, Failure> {
    let deadline = Instant::now() + args.timeout;
    let fleet = Fleet::open(context, &args.reaching, args.timeout / 4)?;
    let members = fleet.members(&args.nodes)?;
    let seen = std::thread::scope(|scope| {
        let looks: Vec<_> = members
            .iter()
            .map(|member| scope.spawn(|| look(&fleet, member, deadline)))
            .collect();
        looks
            .into_iter()
            .map(|look| {
                look.join()
                    .unwrap_or_else(|_| Err(Failure::new("a node could not be looked at")))
            })
            .collect::<Result<Vec<Seen>, Failure>>()
    })?;
    if context.json {
        for node in &seen {
            message::json(&object(node))?;
        }
    } else {
        for line in table(&seen) {
            message::line(&line)?;
        }
    }
    Ok(if seen.iter().all(Seen::is_well) {
        Outcome::Done
    } else {
        Outcome::Different
    })
}

/// Looks for a node until one address is that of the node itself.
fn look(fleet: &Fleet, member: &Member, deadline: Instant) -> Result<Seen, Failure> {
    let node = member.target.node.clone();
    if fleet.is_configured() {
        let (reach, facts) = ask(fleet, member, None, deadline)?;
        return Ok(Seen {
            node,
            address: fleet.configured(member, deadline),
            way: None,
            reach,
            facts,
        });
    }
    let mut missed: Option<Seen> = None;
    let found = fleet.search(member, deadline, |candidate| {
        let (reach, facts) = match candidate.reach {
            Reach::Ok => match ask(fleet, member, Some(candidate.ip), deadline) {
                Ok(answer) => answer,
                Err(failure) => return Some(Err(failure)),
            },
            reach => (reach, None),
        };
        let seen = Seen {
            node: node.clone(),
            address: Some(candidate.ip.to_string()),
            way: Some(candidate.way),
            reach,
            facts,
        };
        if is_node(&seen.reach) {
            return Some(Ok(seen));
        }
        if missed
            .as_ref()
            .is_none_or(|known| weight(&seen.reach) > weight(&known.reach))
        {
            missed = Some(seen);
        }
        None
    });
    found.unwrap_or_else(|| {
        Ok(missed.unwrap_or(Seen {
            node: node.clone(),
            address: None,
            way: None,
            reach: Reach::NoAddress,
            facts: None,
        }))
    })
}

/// Whether something answered that may well be the node, so that no other address is tried.
fn is_node(reach: &Reach) -> bool {
    matches!(reach, Reach::Ok | Reach::Denied)
}

/// How much a failure tells.
fn weight(reach: &Reach) -> u8 {
    match reach {
        Reach::WrongHostKey | Reach::UnknownHostKey | Reach::Other(_) => 3,
        Reach::Refused => 2,
        Reach::Failed(_) => 1,
        _ => 0,
    }
}

/// All facts of a node by one call.
fn ask(
    fleet: &Fleet,
    member: &Member,
    ip: Option<std::net::IpAddr>,
    deadline: Instant,
) -> Result<(Reach, Option<Facts>), Failure> {
    let ended = fleet.call(member, ip, &["sh", "-s"], PROBE, deadline)?;
    if ended.late {
        return Ok((Reach::Timeout, None));
    }
    let reach = remote::reach(ended.code, &ended.stderr, &member.target);
    if reach != Reach::Ok {
        return Ok((reach, None));
    }
    Ok(match Facts::parse(&ended.stdout) {
        Some(facts) if facts.is_of_another(&member.target) => (Reach::Other(facts.hostname.clone()), None),
        Some(facts) => (reach, Some(facts)),
        None => (Reach::Failed("the account runs no shell".to_owned()), None),
    })
}

fn object(seen: &Seen) -> serde_json::Value {
    let facts = seen.facts.as_ref();
    let (step, failed) = match facts.map(|f| &f.ready) {
        Some(Ready::Step(step)) => (Some(step.clone()), Vec::new()),
        Some(Ready::Failed(failed)) => (None, failed.clone()),
        _ => (None, Vec::new()),
    };
    let failed: Vec<_> = failed
        .iter()
        .map(|(step, why)| json!({"step": step, "why": why}))
        .collect();
    let power = facts.and_then(|f| f.power);
    json!({
        "event": "status", "node": seen.node, "address": seen.address, "found": seen.way.map(Way::word),
        "ssh": seen.reach.to_string(), "reached": seen.reach == Reach::Ok,
        "kubelet": facts.and_then(|f| f.kubelet.clone()), "version": facts.and_then(|f| f.version.clone()),
        "ready": facts.is_some_and(|f| f.ready == Ready::Yes),
        "state": facts.map(|f| f.ready.words()), "step": step, "failed": failed,
        "throttled": power.map(|p| p.0), "power": power.map(remote::Power::words),
        "uptime": facts.and_then(|f| f.uptime),
    })
}

/// Rows with columns as wide as they need to be; what may be long comes last.
fn table(seen: &[Seen]) -> Vec<String> {
    let head = [
        "NODE", "ADDRESS", "FOUND BY", "SSH", "KUBELET", "VERSION", "UPTIME", "POWER", "STATE",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for seen in seen {
        let facts = seen.facts.as_ref();
        let reached = !matches!(seen.reach, Reach::NoAddress);
        let by = seen.way.map(|way| way.word().to_owned());
        rows.push([
            seen.node.clone(),
            or_none(seen.address.clone()),
            or_none(by.or_else(|| reached.then(|| "file".to_owned()))),
            seen.reach.to_string(),
            or_none(facts.and_then(|f| f.kubelet.clone())),
            or_none(facts.and_then(|f| f.version.clone())),
            or_none(facts.and_then(|f| f.uptime).map(span)),
            or_none(facts.and_then(|f| f.power).map(|power| match power.words() {
                words if words.is_empty() => "ok".to_owned(),
                words => words.join(", "),
            })),
            or_none(facts.map(|f| f.ready.words())),
        ]);
    }
    let mut widths = [0; 9];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    rows.iter()
        .map(|row| {
            let cells: Vec<String> = row
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect()
}

/// Seconds for people: `42s`, `7m`, `3h 5m`, `12d 4h`.
fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m"),
        (0, hours, minutes) => format!("{hours}h {}m", minutes % 60),
        (days, hours, _) => format!("{days}d {}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn spans() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (11_100, "3h 5m"),
            (1_051_200, "12d 4h"),
        ] {
            assert_eq!(super::span(seconds), text);
        }
    }
}
