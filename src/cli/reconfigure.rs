//! `reconfigure`: a written card becomes what its node is now, and only what changed is written.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::args;
use super::build::{self, Finished};
use super::card::{CardSource, OnCard, Record, device_source, on_card};
use super::context::{Context, facts};
use super::flash::{Place, ask, find, permit, with_hint, writer};
use super::message::{self, Failure, Outcome};
use super::plan::{Remember, plan_nodes};
use crate::base_os::CARD_RECORD;
use crate::diff;
use crate::disk::{BlockIo, Bytes, Source, in_pieces};
use crate::edit::Touch;
use crate::flash::{Card, FlashError};
use crate::fs::{Attrs, NodeKind, Time, show, tree};
use crate::image::Image;
use crate::lock::Mode;
use crate::plan::NodePlan;
use crate::sys::{Device, Opened, unmount};
use crate::values::VolumeName;

/// What is to be done to a card.
struct Changes {
    /// Paths of the boot volume whose content is another.
    put: Vec<Vec<u8>>,
    /// Paths of the boot volume that go.
    remove: Vec<Vec<u8>>,
    /// Paths of the root volume that differ from the plan and stay.
    root: Vec<String>,
}

/// `ceil-img reconfigure`
pub fn reconfigure(context: &Context, args: &args::Reconfigure) -> Result<Outcome, Failure> {
    let place = find(&args.device)?;
    permit(&place, 0, &args.writing)?;
    let mode = if args.locked { Mode::Locked } else { Mode::Fill };
    context.use_lock(&args.cluster, mode, !args.dry_run)?;
    let remember = if args.dry_run { Remember::No } else { Remember::Yes };
    let planned = plan_nodes(context, &args.cluster, std::slice::from_ref(&args.node), remember)?;
    let plan = planned
        .plans
        .first()
        .ok_or_else(|| Failure::new(format!("there is no node `{}`", args.node)))?;
    let base = context.base(&plan.base)?;
    let finished = build::finish_planned(context, &base, &planned, plan)?;
    let mut card = open(context, &place)?;
    card.volume(VolumeName::Boot)?;
    let now = on_card(&card);
    let old = now.record.clone().ok_or_else(|| {
        Failure::new(format!("{} holds no card of ceil-img", place.shown()))
            .hint("`ceil-img flash` writes one")
    })?;
    let mut changes = compare(&finished, &card)?;
    if old.plan == plan.digest.to_string() && changes.root.is_empty() {
        // What the first boot did to its own files is no reason to undo it.
        changes.put.clear();
        changes.remove.clear();
    }
    if changes.put.is_empty() && changes.remove.is_empty() {
        tell(context, &place, plan, &changes, "unchanged")?;
        context.note("nothing on the boot volume differs from the plan");
        return Ok(left_behind(context, &changes));
    }
    tell_cloud_init(context, plan, &now);
    if args.dry_run {
        tell(context, &place, plan, &changes, "would-reconfigure")?;
        return Ok(left_behind(context, &changes));
    }
    if !args.writing.yes {
        if !ask::can_ask() {
            return Err(Failure::new(format!("this would change {}", place.shown()))
                .hint("say `--yes` where nobody can be asked"));
        }
        message::words(&format!("{}: {}", place.shown(), place.describe()));
        message::words(&format!(
            "  node `{}` of cluster `{}` becomes `{}`",
            old.node, old.cluster, plan.node
        ));
        ask::confirmed(&format!(
            "Write {} files of its boot volume?",
            changes.put.len() + changes.remove.len()
        ))?;
    }
    change(
        &finished,
        &mut card,
        &changes,
        &old,
        plan,
        now.booted == Some(true),
    )?;
    write(&place, &card)?;
    tell(context, &place, plan, &changes, "reconfigured")?;
    Ok(left_behind(context, &changes))
}

/// The image on a card that will be written while it is read: a file may change here, unlike elsewhere.
fn open(context: &Context, place: &Place) -> Result<Image, Failure> {
    let source: Arc<dyn Source> = match place {
        Place::Disk(disk) => match device_source(&disk.path)? {
            Some(source) => source,
            None => return Err(Failure::new(format!("{} is no disk any more", place.shown()))),
        },
        Place::File { path, len } => {
            let device = Device::open(path, Opened::Read, *len)
                .map_err(|e| Failure::from(e).while_doing(format!("cannot open `{}`", path.display())))?;
            Arc::new(CardSource(device))
        }
    };
    let what = || format!("cannot open {}", place.shown());
    let image = Image::open(source).map_err(|e| Failure::from(e).while_doing(what()))?;
    context.tell_recovered(&image, &place.shown());
    Ok(image)
}

/// What of the planned paths is another on the card.
fn compare(finished: &Finished, card: &Image) -> Result<Changes, Failure> {
    let mut changes = Changes {
        put: Vec::new(),
        remove: Vec::new(),
        root: Vec::new(),
    };
    for ((name, path), touch) in &finished.applied.touched {
        let wanted = finished.image.volume(*name)?;
        let there = card.volume(*name)?;
        let found = there.stat(path)?;
        let same = match touch {
            Touch::Removed => found.is_none(),
            Touch::Present(_) => {
                let stat = wanted
                    .stat(path)?
                    .ok_or_else(|| Failure::new(format!("{name}:{} is not in the image", show(path))))?;
                match (stat.kind, &found) {
                    (_, None) => false,
                    (NodeKind::File, Some(found)) if found.kind == NodeKind::File => {
                        stat.size == found.size && diff::digest(wanted, path)? == diff::digest(there, path)?
                    }
                    (NodeKind::Symlink, Some(found)) if found.kind == NodeKind::Symlink => {
                        wanted.read_link(path)? == there.read_link(path)?
                    }
                    (kind, Some(found)) => kind == found.kind,
                }
            }
        };
        if same {
            continue;
        }
        match (name, touch) {
            (VolumeName::Boot, Touch::Removed) => changes.remove.push(path.clone()),
            (VolumeName::Boot, Touch::Present(_)) => changes.put.push(path.clone()),
            // The running system writes these itself.
            (VolumeName::Root, _) if LIVE.contains(&path.as_slice()) => {}
            (VolumeName::Root, _) => changes.root.push(format!("{name}:{}", show(path))),
        }
    }
    Ok(changes)
}

/// Paths of the root volume that a system which has booted changes by itself.
const LIVE: [&[u8]; 3] = [
    b"/etc/machine-id",
    b"/var/lib/dbus/machine-id",
    b"/var/lib/systemd/timesync/clock",
];

/// Carries the changes out in memory.
fn change(
    finished: &Finished,
    card: &mut Image,
    changes: &Changes,
    old: &Record,
    plan: &NodePlan,
    booted: bool,
) -> Result<(), Failure> {
    let now = Time {
        secs: plan.epoch.secs,
        ..Time::default()
    };
    let attrs = Attrs {
        now,
        ..Attrs::default()
    };
    let line = facts(&finished.image)?.and_then(|f| f.cmdline_path);
    let wanted = finished.image.volume(VolumeName::Boot)?;
    let mut puts: Vec<(Vec<u8>, Arc<dyn Source>)> = Vec::new();
    for path in &changes.put {
        let is = |name: &str| path.eq_ignore_ascii_case(name.as_bytes());
        let content: Arc<dyn Source> = if is(CARD_RECORD) && !changes.root.is_empty() {
            let text = tree::read_small(wanted, path, 1 << 16)?;
            let mut record: Record = serde_json::from_slice(&text)?;
            record.root_plan = Some(old.root_plan.clone().unwrap_or_else(|| old.plan.clone()));
            Bytes::shared(format!("{}\n", serde_json::to_string(&record)?).as_bytes())
        } else if booted && line.as_deref().is_some_and(is) {
            let text = kernel_words(finished, card, path)?;
            Bytes::shared(text.as_bytes())
        } else if wanted.stat(path)?.is_some_and(|stat| stat.kind == NodeKind::File) {
            wanted.open(path)?
        } else {
            card.volume_mut(VolumeName::Boot)?.make_dir(path, &attrs)?;
            continue;
        };
        puts.push((path.clone(), content));
    }
    let boot = card.volume_mut(VolumeName::Boot)?;
    for path in &changes.remove {
        boot.remove(path, true, now)?;
    }
    for (path, content) in &puts {
        boot.put_file(path, content, false, &attrs)?;
    }
    card.commit()?;
    Ok(())
}

/// The kernel's words of the plan, without those that the first boot took away: they would resize the disk again.
fn kernel_words(finished: &Finished, card: &Image, path: &[u8]) -> Result<String, Failure> {
    let read = |image: &Image| -> Result<String, Failure> {
        let bytes = tree::read_small(image.volume(VolumeName::Boot)?, path, 1 << 16)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    let base = Image::open(Arc::clone(finished.image.overlay.base()))?;
    let stock = read(&base).unwrap_or_default();
    let there = read(card).unwrap_or_default();
    let there: BTreeSet<&str> = there.split_whitespace().collect();
    let gone: BTreeSet<&str> = stock
        .split_whitespace()
        .filter(|word| !there.contains(word))
        .collect();
    let wanted = read(&finished.image)?;
    let words: Vec<&str> = wanted
        .split_whitespace()
        .filter(|word| !gone.contains(word))
        .collect();
    Ok(format!("{}\n", words.join(" ")))
}

/// Writes what changed of the boot volume, and reads it back.
fn write(place: &Place, card: &Image) -> Result<(), Failure> {
    let boot = card.partition(VolumeName::Boot)?.range();
    let (path, len) = match place {
        Place::Disk(disk) => {
            unmount(disk)?;
            (&disk.raw, disk.size)
        }
        Place::File { path, len } => (path, *len),
    };
    let device = writer::open(path, len)?;
    let overlay = &card.overlay;
    let mut written = Vec::new();
    for (start, span) in overlay.spans() {
        // What recovery did to the root volume in memory is left to the board itself.
        let range = start.max(boot.start)..(start + span.len).min(boot.end);
        if range.start >= range.end {
            continue;
        }
        // Whole pages go past the cache.
        let range =
            range.start / 4096 * 4096..(range.end.div_ceil(4096) * 4096).min(BlockIo::len(&**overlay));
        written.push(range);
    }
    let whole = crate::flash::Whole(Arc::clone(overlay));
    for range in &written {
        in_pieces(&whole, range.clone(), |at, bytes| {
            Card::write_at(&device, at, bytes)?;
            Ok(true)
        })
        .map_err(|source| {
            with_hint(FlashError::Write {
                at: range.start,
                source,
            })
        })?;
    }
    Card::sync(&device).map_err(|e| with_hint(FlashError::Sync(e)))?;
    Card::forget(&device).map_err(|source| with_hint(FlashError::Read { at: 0, source }))?;
    let mut seen = vec![0; crate::disk::PIECE];
    for range in &written {
        let mut first = None;
        in_pieces(&whole, range.clone(), |at, bytes| {
            let seen = &mut seen[..bytes.len()];
            Card::read_at(&device, at, seen)?;
            first = seen
                .iter()
                .zip(bytes)
                .position(|(a, b)| a != b)
                .map(|n| at + n as u64);
            Ok(first.is_none())
        })
        .map_err(|source| {
            with_hint(FlashError::Read {
                at: range.start,
                source,
            })
        })?;
        if let Some(at) = first {
            return Err(with_hint(FlashError::Different { at }));
        }
    }
    Ok(())
}

/// Whether cloud-init will look at the new files.
fn tell_cloud_init(context: &Context, plan: &NodePlan, now: &OnCard) {
    let new = &plan.identity.instance_id;
    match &now.instance_id {
        Some(old) if old == new => context.warn(&format!(
            "cloud-init has already run as `{old}` and will pass over changes of its files"
        )),
        Some(old) => context.note(&format!(
            "cloud-init has run as `{old}`; it will run again as `{new}`"
        )),
        None => {}
    }
}

fn tell(
    context: &Context,
    place: &Place,
    plan: &NodePlan,
    changes: &Changes,
    event: &str,
) -> Result<(), Failure> {
    let paths = |list: &[Vec<u8>]| {
        list.iter()
            .map(|path| format!("boot:{}", show(path)))
            .collect::<Vec<_>>()
    };
    if context.json {
        message::json(&json!({
            "event": event, "device": place.shown(), "node": plan.node, "plan": plan.digest,
            "instance_id": plan.identity.instance_id, "written": paths(&changes.put),
            "removed": paths(&changes.remove), "left": changes.root,
        }))?;
        return Ok(());
    }
    for path in paths(&changes.put) {
        message::line(&format!("written  {path}"))?;
    }
    for path in paths(&changes.remove) {
        message::line(&format!("removed  {path}"))?;
    }
    for path in &changes.root {
        message::line(&format!("left     {path}"))?;
    }
    Ok(())
}

/// A root volume that is of another plan makes the exit code 1.
fn left_behind(context: &Context, changes: &Changes) -> Outcome {
    if changes.root.is_empty() {
        return Outcome::Done;
    }
    context.warn(&format!(
        "{} paths of the root volume differ from the plan; only `ceil-img flash` writes those",
        changes.root.len()
    ));
    Outcome::Different
}
