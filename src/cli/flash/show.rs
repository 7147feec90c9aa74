//! Progress of several cards at once.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::message;
use crate::report::{Event, Reporter, Step};

/// Draws a line per card on a terminal; prints events with `--json`.
pub struct Show {
    json: bool,
    draw: bool,
    several: bool,
    bars: MultiProgress,
}

impl Show {
    /// For this many cards.
    pub fn new(context: &Context, cards: usize) -> Self {
        Self {
            json: context.json,
            draw: !context.json && !context.quiet && std::io::stderr().is_terminal(),
            several: cards > 1,
            bars: MultiProgress::new(),
        }
    }

    /// The view of one card.
    pub fn card<'a>(&'a self, device: &str, node: &str) -> CardShow<'a> {
        CardShow {
            show: self,
            device: device.to_owned(),
            node: node.to_owned(),
            bars: Mutex::new(HashMap::new()),
        }
    }
}

/// Where the events of one card go.
pub struct CardShow<'a> {
    show: &'a Show,
    device: String,
    node: String,
    bars: Mutex<HashMap<Step, ProgressBar>>,
}

impl Reporter for CardShow<'_> {
    fn event(&self, event: &Event<'_>) {
        if self.show.json {
            let mut value = match event {
                Event::Start { step, total, .. } => {
                    json!({"event": "start", "step": step.word(), "total": total})
                }
                Event::Advance { step, done } => {
                    json!({"event": "advance", "step": step.word(), "done": done})
                }
                Event::End { step } => json!({"event": "end", "step": step.word()}),
                Event::Note { text } => json!({"event": "note", "text": text}),
                Event::Warning { text } => json!({"event": "warning", "text": text}),
            };
            value["device"] = json!(self.device);
            value["node"] = json!(self.node);
            // A reader that went away is noticed when the result is written.
            let _ = message::json(&value);
            return;
        }
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Start { step, total, .. } if self.show.draw => {
                let bar = ProgressBar::new(total.unwrap_or_default());
                let style = "{msg:30!} {bar:24} {percent:>3}% {bytes:>10} of {total_bytes:<10} {bytes_per_sec:>12} {eta:>4} left";
                if let Ok(style) = ProgressStyle::with_template(style) {
                    bar.set_style(style);
                }
                let name = if self.show.several {
                    &self.node
                } else {
                    &self.device
                };
                bar.set_message(format!("{} {name}", step.word()));
                bars.insert(*step, self.show.bars.add(bar));
            }
            Event::Advance { step, done } => {
                if let Some(bar) = bars.get(step) {
                    bar.set_position(*done);
                }
            }
            Event::End { step } => {
                if let Some(bar) = bars.remove(step) {
                    bar.finish_and_clear();
                }
            }
            Event::Start { .. } => {}
            Event::Note { text } => message::words(&format!("{}: {text}", self.device)),
            Event::Warning { text } => message::words(&format!("warning: {}: {text}", self.device)),
        }
    }
}
