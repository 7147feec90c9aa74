//! One line for each node on a terminal, a line for each change elsewhere, or JSON events.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;

use super::{Context, Failure, Lab};
use crate::boot::{Change, Forward, Protocol, State};
use crate::cli::message;

/// How often a line on a terminal shows that time passes.
const SPIN: Duration = Duration::from_millis(500);

/// Where states go.
pub struct Show<'a> {
    bars: BTreeMap<String, ProgressBar>,
    _all: Option<MultiProgress>,
    context: &'a Context,
}

impl<'a> Show<'a> {
    pub fn new(context: &'a Context, lab: &Lab) -> Self {
        let mut show = Self {
            bars: BTreeMap::new(),
            _all: None,
            context,
        };
        if context.json || context.quiet || !std::io::stderr().is_terminal() {
            return show;
        }
        let all = MultiProgress::new();
        for slot in &lab.slots {
            let bar = all.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:20!} {elapsed:>5}  {wide_msg}")
            {
                bar.set_style(style);
            }
            bar.set_prefix(slot.name.clone());
            bar.set_message(slot.state().to_string());
            bar.enable_steady_tick(SPIN);
            show.bars.insert(slot.name.clone(), bar);
        }
        show._all = Some(all);
        show
    }

    /// A port that leads to a node.
    pub fn forward(&self, context: &Context, forward: &Forward) -> Result<(), Failure> {
        if context.json {
            message::json(&json!({
                "event": "forward", "node": forward.node, "address": forward.address, "port": forward.port,
                "protocol": forward.protocol.to_string(), "uplink": forward.uplink, "local": forward.local,
            }))?;
        } else {
            self.say(&format!(
                "{}: port {}{}{} is 127.0.0.1:{}",
                forward.node,
                forward.port,
                if forward.protocol == Protocol::Udp {
                    "/udp"
                } else {
                    ""
                },
                if forward.uplink { " of the uplink" } else { "" },
                forward.local
            ));
        }
        Ok(())
    }

    /// Something that became of a node, so long after the start.
    pub fn change(&self, context: &Context, change: &Change, now: Duration) -> Result<(), Failure> {
        let seconds = now.as_secs();
        let Change {
            node,
            state,
            done,
            fault,
        } = change;
        if context.json {
            let (word, step, why) = match state {
                State::Step(step) => ("step", Some(step), None),
                State::Failed { step, message } => ("failed", Some(step), Some(message)),
                State::Off => ("off", None, None),
                State::Booting => ("booting", None, None),
                State::Login => ("login", None, None),
                State::Ready => ("ready", None, None),
                State::Stopped => ("stopped", None, None),
            };
            message::json(&json!({
                "event": "state", "node": node, "state": word, "step": step, "message": why,
                "took": done.as_ref().and_then(|(_, took)| took.parse::<f64>().ok()), "done": done.is_some(),
                "fault": fault, "at": seconds,
            }))?;
            return Ok(());
        }
        let mut text = match done {
            Some((step, took)) => format!("step {step} done in {took} s"),
            None => state.to_string(),
        };
        if let Some(fault) = fault {
            text = format!("{text} ({fault})");
        }
        match self.bars.get(node) {
            Some(bar) => bar.set_message(text),
            None => self.say(&format!("{seconds:>5} s  {node}: {text}")),
        }
        Ok(())
    }

    fn say(&self, text: &str) {
        if self.context.quiet {
            return;
        }
        match self.bars.values().next() {
            Some(bar) => bar.println(text),
            None => message::words(text),
        }
    }

    /// Leaves the last states on the terminal.
    pub fn end(&self) {
        for bar in self.bars.values() {
            bar.abandon();
        }
    }
}

impl Drop for Show<'_> {
    fn drop(&mut self) {
        self.end();
    }
}
