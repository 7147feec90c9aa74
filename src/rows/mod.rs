//! What must be true of a finished image, one row for each number of the list of features and pitfalls (F247).
//!
//! This room knows what an image has to look like: it reads both volumes, and what the cluster file says of the node
//! where that is known. It never plans: a row that asked the planner what it would write could only find out whether
//! the planner agrees with itself. It must not know the terminal, the network or files of the host, and it changes
//! nothing.
//!
//! Every row is one function. It says that it does not apply, that it needs something which is not at hand, or what is
//! wrong; otherwise the row holds.

mod base;
mod boot;
mod case;
mod cloud;
mod host;
mod join;
mod kernel;
mod kubernetes;
mod network;
mod pitfalls;
mod runtime;
mod storage;
mod text;

use crate::fs::FsError;

pub use case::{Case, Node};

/// Why a row does not simply hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The image contradicts the row.
    Fails(String),
    /// The image is of no kind that the row is about.
    NotHere,
    /// The row cannot be decided without this.
    Needs(&'static str),
}

impl From<FsError> for Stop {
    fn from(error: FsError) -> Self {
        Self::Fails(error.to_string())
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Fails(format!("cannot read the image: {error}"))
    }
}

/// Whether a row holds.
pub type Judged = Result<(), Stop>;

/// A row: a number of the list of features (F) or pitfalls (P), and what it asks of an image.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its number.
    pub id: &'static str,
    /// What holds where it passes.
    pub title: &'static str,
    /// Looks at an image.
    pub judge: fn(&Case<'_>) -> Judged,
}

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Pass,
    /// It does not, and why.
    Fail(String),
    /// It is about other images.
    DoesNotApply,
    /// It cannot be decided without this.
    Needs(&'static str),
}

impl Verdict {
    /// The word for people and programs.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail(_) => "fail",
            Self::DoesNotApply => "does-not-apply",
            Self::Needs(_) => "needs",
        }
    }
}

impl Row {
    /// What becomes of this row on an image.
    #[must_use]
    pub fn verdict(&self, case: &Case<'_>) -> Verdict {
        match (self.judge)(case) {
            Ok(()) => Verdict::Pass,
            Err(Stop::Fails(why)) => Verdict::Fail(why),
            Err(Stop::NotHere) => Verdict::DoesNotApply,
            Err(Stop::Needs(what)) => Verdict::Needs(what),
        }
    }
}

/// All rows, ascending.
#[must_use]
pub fn all() -> Vec<Row> {
    let mut rows: Vec<Row> = [
        base::ROWS,
        boot::ROWS,
        cloud::ROWS,
        host::ROWS,
        join::ROWS,
        kernel::ROWS,
        kubernetes::ROWS,
        network::ROWS,
        pitfalls::ROWS,
        runtime::ROWS,
        storage::ROWS,
    ]
    .concat();
    rows.sort_by_key(|row| row.id);
    rows
}

/// Stops with what is wrong.
fn fails<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Fails(why.into()))
}

/// Goes on only where the row applies.
fn applies(to: bool) -> Judged {
    if to { Ok(()) } else { Err(Stop::NotHere) }
}

/// Goes on only where something holds.
fn holds(is: bool, otherwise: impl FnOnce() -> String) -> Judged {
    if is { Ok(()) } else { Err(Stop::Fails(otherwise())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f247_rows_have_numbers_of_their_own_and_short_titles() {
        let rows = all();
        for pair in rows.windows(2) {
            assert!(pair[0].id < pair[1].id, "{} twice", pair[1].id);
        }
        for row in &rows {
            let number = row.id.trim_start_matches(['F', 'P']);
            assert!(number.parse::<u16>().is_ok(), "{}", row.id);
            assert!(
                !row.title.is_empty() && row.title.len() <= 80 && !row.title.ends_with('.'),
                "{}: {}",
                row.id,
                row.title
            );
        }
    }
}
