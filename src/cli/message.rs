//! Words for people: errors with their causes on stderr, data on stdout.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write};

/// What a command came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0.
    Done,
    /// Exit code 1 without an error message: images differ, a check found something.
    Different,
    /// Exit code 2 without an error message: a plan is another than the one that was built.
    WouldChange,
}

/// An error on its way to the user, with a way out where one is known.
#[derive(Debug)]
pub struct Failure {
    error: Box<dyn Error + Send + Sync>,
    hints: Vec<String>,
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            hints: Vec::new(),
        }
    }
}

/// An error with a sentence in front of its causes.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Context {
    text: String,
    source: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// An error that is one sentence.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            error: text.into().into(),
            hints: Vec::new(),
        }
    }

    /// Adds a way out.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        self.hints.push(text.into());
        self
    }

    /// Puts a sentence in front: what was being done.
    #[must_use]
    pub fn while_doing(self, text: impl Into<String>) -> Self {
        Self {
            error: Box::new(Context {
                text: text.into(),
                source: self.error,
            }),
            hints: self.hints,
        }
    }

    /// The error alone, for a place in another sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        self.error.to_string()
    }

    /// Whether the reader of stdout went away, which is no failure.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&*self.error);
        while let Some(error) = cause {
            if let Some(io) = error.downcast_ref::<io::Error>()
                && io.kind() == io::ErrorKind::BrokenPipe
            {
                return true;
            }
            cause = error.source();
        }
        false
    }

    /// The whole message: the error, its causes, the hints.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = format!("error: {}", self.error);
        let mut last = self.error.to_string();
        let mut cause = self.error.source();
        while let Some(error) = cause {
            let words = error.to_string();
            // A transparent wrapper repeats the words of what it wraps.
            if words != last {
                let _ = write!(text, "\n  caused by: {words}");
            }
            last = words;
            cause = error.source();
        }
        for hint in &self.hints {
            let _ = write!(text, "\nhint: {hint}");
        }
        text
    }

    /// The same as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut causes = Vec::new();
        let mut cause = self.error.source();
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        serde_json::json!({
            "event": "error",
            "message": self.error.to_string(),
            "causes": causes,
            "hints": self.hints,
        })
    }
}

/// Writes one line of data to stdout.
///
/// # Errors
/// The reader went away.
pub fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")
}

/// Writes one JSON object to stdout.
///
/// # Errors
/// The reader went away.
pub fn json<T: serde::Serialize>(value: &T) -> io::Result<()> {
    line(&serde_json::to_string(value)?)
}

/// Writes words to stderr. A stderr that is closed is nobody's loss.
pub fn words(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
