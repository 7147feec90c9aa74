//! Progress on a terminal, as JSON events, or not at all.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::message;
use crate::report::{Event, Reporter, Step};

/// Draws on stderr when it is a terminal; prints events on stdout with `--json`; else only notes and warnings.
pub struct Progress {
    json: bool,
    quiet: bool,
    terminal: bool,
    bars: Mutex<HashMap<Step, ProgressBar>>,
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Progress")
    }
}

impl Progress {
    /// As the flags say.
    #[must_use]
    pub fn new(json: bool, quiet: bool) -> Self {
        Self {
            json,
            quiet,
            terminal: std::io::stderr().is_terminal(),
            bars: Mutex::new(HashMap::new()),
        }
    }

    fn draw(&self, event: &Event<'_>) {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Start { step, subject, total } => {
                let bar = ProgressBar::with_draw_target(*total, ProgressDrawTarget::stderr());
                let template = if total.is_some() {
                    "{msg:40!} {bar:24} {bytes:>10} of {total_bytes:<10} {bytes_per_sec:>12} {eta:>4} left"
                } else {
                    "{msg:40!} {spinner} {bytes:>10} {bytes_per_sec:>12}"
                };
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
                let name = subject.rsplit('/').next().unwrap_or(subject);
                bar.set_message(format!("{} {name}", step.word()));
                bars.insert(*step, bar);
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
            Event::Note { text } => message::words(text),
            Event::Warning { text } => message::words(&format!("warning: {text}")),
        }
    }
}

impl Reporter for Progress {
    fn event(&self, event: &Event<'_>) {
        if self.json {
            let value = match event {
                Event::Start { step, subject, total } => {
                    json!({"event": "start", "step": step.word(), "subject": subject, "total": total})
                }
                Event::Advance { step, done } => {
                    json!({"event": "advance", "step": step.word(), "done": done})
                }
                Event::End { step } => json!({"event": "end", "step": step.word()}),
                Event::Note { text } => json!({"event": "note", "text": text}),
                Event::Warning { text } => json!({"event": "warning", "text": text}),
            };
            // A reader that went away is noticed when the result is written.
            let _ = message::json(&value);
        } else if self.quiet {
            if let Event::Warning { text } = event {
                message::words(&format!("warning: {text}"));
            }
        } else if self.terminal {
            self.draw(event);
        } else if let Event::Note { text } = event {
            message::words(text);
        } else if let Event::Warning { text } = event {
            message::words(&format!("warning: {text}"));
        }
    }
}
