//! `ssh`: a login whose host key is known before the first one.

use std::io::IsTerminal as _;
use std::time::Instant;

use super::args;
use super::context::Context;
use super::fleet::{FIND, Fleet, no_ssh};
use super::message::{Failure, Outcome};
use crate::remote::outside;

/// Becomes ssh.
///
/// # Errors
/// The node is not found, or ssh cannot be run.
pub fn ssh(context: &Context, args: &args::Ssh) -> Result<Outcome, Failure> {
    let fleet = Fleet::open(context, &args.reaching, FIND)?;
    let members = fleet.members(std::slice::from_ref(&args.node))?;
    let [member] = &members[..] else {
        return Ok(Outcome::Done);
    };
    let place = fleet.locate(member, Instant::now() + FIND)?;
    if let (Some(ip), Some(way)) = (place.ip, place.way) {
        context.note(&format!("`{}` is {ip}, found by {way}", args.node));
    }
    let terminal =
        !args.command.is_empty() && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let words = fleet.words_for_person(member, place.ip, &args.command, terminal)?;
    Err(no_ssh(outside::become_ssh(&words)))
}
