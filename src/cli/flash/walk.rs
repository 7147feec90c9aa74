//! `flash --all`: a card for each node in turn.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::{Place, ask, node, plan, target, write_all};
use crate::cli::args;
use crate::cli::context::Context;
use crate::cli::message::{self, Failure, Outcome};
use crate::flash::judge;
use crate::sys::disks::{self, Disk, ThisHost};

/// How often the system is asked for a new card.
const TICK: Duration = Duration::from_millis(500);

/// Goes through the nodes of the cluster file.
pub fn walk(context: &Context, args: &args::Flash) -> Result<Outcome, Failure> {
    let planned = plan(context, args, &[])?;
    let names: Vec<String> = planned.plans.iter().map(|plan| plan.node.clone()).collect();
    if args.dry_run {
        for name in &names {
            let ready = node(context, args, &planned, name, 0)?;
            message::line(&format!("{name}: {} bytes", ready.source.len()))?;
        }
        return Ok(Outcome::Done);
    }
    if !ask::can_ask() {
        let pairs: Vec<String> = names.iter().map(|name| format!("{name}=DEVICE")).collect();
        return Err(
            Failure::new("`--all` asks for one card after another, and there is nobody to ask")
                .hint(format!("name the devices: `ceil-img flash {}`", pairs.join(" "))),
        );
    }
    let mut left = Vec::new();
    for (index, name) in names.iter().enumerate() {
        // What takes time happens before the card is asked for; only the place of a GPT's backup depends on it.
        let need = node(context, args, &planned, name, 0)?.source.len();
        let known = cards(args)?;
        message::words(&format!(
            "Node {} of {}: put the card for `{name}` in now (or press Ctrl-C).",
            index + 1,
            names.len()
        ));
        let disk = appeared(context, args, need, &known)?;
        let ready = node(context, args, &planned, name, disk.size)?;
        let done = write_all(context, args, vec![(Place::Disk(Box::new(disk)), ready)]);
        if let Err(failure) = done {
            if context.cancel.load(Ordering::Relaxed) {
                return Err(failure);
            }
            message::words(&failure.render());
            left.push(name.clone());
        }
    }
    if left.is_empty() {
        return Ok(Outcome::Done);
    }
    Err(
        Failure::new(format!("these nodes have no card yet: {}", left.join(", ")))
            .hint("`ceil-img flash DEVICE NODE` writes one"),
    )
}

/// What may be written now.
fn cards(args: &args::Flash) -> Result<Vec<Disk>, Failure> {
    let allow = target::allowed(&args.writing);
    Ok(disks::disks(&ThisHost)?
        .into_iter()
        .filter(|disk| judge(disk, 0, allow).is_empty())
        .collect())
}

/// What is remembered of a card between two looks: a slot that gets another card has another size as a rule, and a card
/// that was pulled out is missing for one look.
type Seen = Vec<(PathBuf, u64)>;

fn seen(disks: &[Disk]) -> Seen {
    disks.iter().map(|disk| (disk.path.clone(), disk.size)).collect()
}

/// Cards that were not there at the last look.
fn news<'a>(before: &Seen, now: &'a [Disk]) -> Vec<&'a Disk> {
    now.iter()
        .filter(|disk| {
            !before
                .iter()
                .any(|(path, size)| *path == disk.path && *size == disk.size)
        })
        .collect()
}

/// Waits for a card that was not there before.
fn appeared(context: &Context, args: &args::Flash, need: u64, known: &[Disk]) -> Result<Disk, Failure> {
    let mut before = seen(known);
    loop {
        if context.cancel.load(Ordering::Relaxed) {
            return Err(Failure::new("interrupted"));
        }
        let now = cards(args)?;
        match news(&before, &now).as_slice() {
            [] => {}
            [disk] => match target::permit_disk(disk, need, target::allowed(&args.writing)) {
                Ok(()) => return Ok((*disk).clone()),
                Err(failure) => message::words(&failure.render()),
            },
            several => {
                let names: Vec<String> = several.iter().map(|d| d.path.display().to_string()).collect();
                message::words(&format!(
                    "{} appeared at once; take one out and put it in again, or name it: `ceil-img flash DEVICE NODE`",
                    names.join(" and ")
                ));
            }
        }
        before = seen(&now);
        thread::sleep(TICK);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::sys::disks::Bus;

    fn card(path: &str, size: u64) -> Disk {
        Disk {
            path: path.into(),
            raw: path.into(),
            size,
            model: "Reader".to_owned(),
            bus: Bus::Usb,
            removable: Some(true),
            read_only: false,
            parts: Vec::new(),
            mounts: Vec::new(),
            system: None,
            swap: Vec::new(),
            held: Vec::new(),
            members: Vec::new(),
            queue_depth: None,
            discard: false,
        }
    }

    #[test]
    fn a_new_card_is_told_from_those_that_were_there() {
        let (a, b, other) = (card("/dev/sda", 8), card("/dev/sdb", 8), card("/dev/sda", 16));
        let names = |before: &[Disk], now: &[Disk]| -> Vec<PathBuf> {
            news(&seen(before), now)
                .iter()
                .map(|disk| disk.path.clone())
                .collect()
        };
        let now = [a.clone(), b.clone()];
        assert!(names(&now, &now).is_empty());
        assert_eq!(names(std::slice::from_ref(&a), &now), [Path::new("/dev/sdb")]);
        assert_eq!(names(&[], &now).len(), 2);
        // Another card in the same slot, and the same one after a look without it.
        assert_eq!(names(&now, &[other, b.clone()]), [Path::new("/dev/sda")]);
        assert_eq!(names(std::slice::from_ref(&b), &now), [Path::new("/dev/sda")]);
        assert!(names(&now, &[b]).is_empty());
    }
}
