//! `flash`: from plans and images to cards.

pub mod ask;
mod image;
mod named;
mod show;
mod target;
mod walk;
pub mod writer;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use serde_json::json;

use super::args;
use super::build;
use super::context::{Base, Context};
use super::message::{self, Failure, Outcome};
use super::plan::{Planned, Remember, plan_nodes};
use crate::disk::Source;
use crate::flash::Flashed;
use crate::lock::Mode;
use crate::plan::NodePlan;
use crate::values::ByteSize;

use show::Show;
use target::What;

pub use target::{Place, find, permit};
pub use writer::{serve, with_hint};

/// An image that is ready for a card.
pub struct Ready {
    /// Node or image, for people.
    pub name: String,
    /// Its bytes.
    pub source: Arc<dyn Source>,
    /// Ranges that matter.
    pub used: Vec<std::ops::Range<u64>>,
    /// Digest of the content, where there is one.
    pub content: Option<String>,
    /// What must not be pruned from the cache meanwhile.
    pub _base: Option<Base>,
}

/// `ceil-img flash`
pub fn flash(context: &Context, args: &args::Flash) -> Result<Outcome, Failure> {
    if args.all {
        return walk::walk(context, args);
    }
    let wanted = target::wanted(context, args)?;
    // A disk that will be refused is refused before anything is fetched.
    let mut places = Vec::new();
    for (device, _) in &wanted {
        let place = target::find(device)?;
        target::permit(&place, 0, &args.writing)?;
        places.push(place);
    }
    let nodes: Vec<String> = wanted
        .iter()
        .filter_map(|(_, what)| match what {
            What::Node(name) => Some(name.clone()),
            _ => None,
        })
        .collect();
    let planned = if nodes.is_empty() {
        None
    } else {
        Some(plan(context, args, &nodes)?)
    };
    let mut jobs = Vec::new();
    for ((_, what), place) in wanted.iter().zip(places) {
        let ready = match (what, &planned) {
            (What::Node(name), Some(planned)) => node(context, args, planned, name, place.len())?,
            (What::Image(text), _) => image::image(context, args, text, place.len())?,
            (What::Named(text), _) => named::image(context, args, text, place.len())?,
            (What::Node(name), None) => return Err(Failure::new(format!("node `{name}` was not planned"))),
        };
        target::permit(&place, ready.source.len(), &args.writing)?;
        jobs.push((place, ready));
    }
    write_all(context, args, jobs)
}

/// Plans the nodes that are wanted.
pub fn plan(context: &Context, args: &args::Flash, nodes: &[String]) -> Result<Planned, Failure> {
    let cluster = target::cluster_args(args)?;
    let mode = if args.locked { Mode::Locked } else { Mode::Fill };
    context.use_lock(&cluster, mode, !args.dry_run)?;
    let remember = if args.dry_run { Remember::No } else { Remember::Yes };
    plan_nodes(context, &cluster, nodes, remember)
}

/// The image of a node, in memory, for a card of this length.
fn node(
    context: &Context,
    args: &args::Flash,
    planned: &Planned,
    name: &str,
    card: u64,
) -> Result<Ready, Failure> {
    let plan: &NodePlan = planned
        .plans
        .iter()
        .find(|plan| plan.node == name)
        .ok_or_else(|| Failure::new(format!("node `{name}` was not planned")))?;
    let base = context.base(&plan.base)?;
    let mut finished = build::finish_planned(context, &base, planned, plan)
        .map_err(|e| e.while_doing(format!("node `{name}` was not flashed")))?;
    let (source, used) = image::edited(&mut finished.image, args, card)?;
    Ok(Ready {
        name: name.to_owned(),
        source,
        used,
        content: Some(finished.content.to_string()),
        _base: Some(base),
    })
}

/// Asks, writes all cards at once, and says how each went.
fn write_all(context: &Context, args: &args::Flash, jobs: Vec<(Place, Ready)>) -> Result<Outcome, Failure> {
    if args.dry_run {
        for (place, ready) in &jobs {
            tell_plan(context, place, ready)?;
        }
        return Ok(Outcome::Done);
    }
    ask::erase(context, &args.writing, &jobs)?;
    let show = Show::new(context, jobs.len());
    let cancel = &context.cancel;
    let results: Vec<Result<Flashed, Failure>> = thread::scope(|scope| {
        let threads: Vec<_> = jobs
            .iter()
            .map(|(place, ready)| {
                let reporter = show.card(&place.shown(), &ready.name);
                scope.spawn(move || writer::write(cancel, args, place, ready, &reporter))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    let mut failed = Vec::new();
    let single = jobs.len() == 1;
    for ((place, ready), result) in jobs.iter().zip(results) {
        match result {
            Ok(done) => tell_done(context, place, ready, &done)?,
            Err(failure) => {
                let failure =
                    failure.while_doing(format!("could not flash {} to {}", ready.name, place.shown()));
                if single {
                    return Err(failure);
                }
                if context.json {
                    let mut value = failure.to_json();
                    value["device"] = json!(place.shown());
                    value["node"] = json!(ready.name);
                    message::json(&value)?;
                }
                message::words(&failure.render());
                failed.push(format!("{} to {}", ready.name, place.shown()));
            }
        }
    }
    if failed.is_empty() {
        return Ok(Outcome::Done);
    }
    if context.cancel.load(Ordering::Relaxed) {
        return Err(Failure::new("interrupted"));
    }
    Err(Failure::new(format!(
        "{} of {} cards failed: {}",
        failed.len(),
        jobs.len(),
        failed.join(", ")
    )))
}

fn tell_plan(context: &Context, place: &Place, ready: &Ready) -> Result<(), Failure> {
    let used: u64 = ready.used.iter().map(|r| r.end - r.start).sum();
    if context.json {
        message::json(&json!({
            "event": "would-flash", "device": place.shown(), "node": ready.name, "content": ready.content,
            "image_size": ready.source.len(), "used": used,
        }))?;
    } else {
        message::line(&format!(
            "{} would get {}: {} of {}\n  {}",
            place.shown(),
            ready.name,
            ByteSize(used),
            ByteSize(ready.source.len()),
            place.describe()
        ))?;
    }
    Ok(())
}

fn tell_done(context: &Context, place: &Place, ready: &Ready, done: &Flashed) -> Result<(), Failure> {
    if done.discarded == Some(false) {
        context.note(&format!("{} does not know how to free its blocks", place.shown()));
    }
    if context.json {
        message::json(&json!({
            "event": "flashed", "device": place.shown(), "node": ready.name, "content": ready.content,
            "image_size": ready.source.len(), "used": done.used, "written": done.written,
            "verified": done.verified, "discarded": done.discarded,
        }))?;
    } else {
        message::line(&format!("{}  {}", place.shown(), ready.name))?;
        context.note(&format!(
            "{}: {} written, read back and compared",
            place.shown(),
            ByteSize(done.written)
        ));
    }
    Ok(())
}
