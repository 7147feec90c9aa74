//! Questions on a terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use super::{Place, Ready};
use crate::cli::args;
use crate::cli::card::on_card;
use crate::cli::context::Context;
use crate::cli::message::{self, Failure};
use crate::image::Image;

/// Whether somebody can be asked.
pub fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a line.
///
/// # Errors
/// Nobody answers.
pub fn line(question: &str) -> Result<String, Failure> {
    let mut err = io::stderr().lock();
    err.write_all(question.as_bytes())?;
    err.flush()?;
    let mut answer = String::new();
    if io::stdin().lock().read_line(&mut answer)? == 0 {
        return Err(Failure::new("nobody answered"));
    }
    Ok(answer.trim().to_owned())
}

/// Asks once whether all of it may be erased.
///
/// # Errors
/// The answer is no, or there is nobody to ask.
pub fn erase(context: &Context, writing: &args::Writing, jobs: &[(Place, Ready)]) -> Result<(), Failure> {
    if writing.yes {
        return Ok(());
    }
    if !can_ask() {
        let places: Vec<String> = jobs.iter().map(|(place, _)| place.shown()).collect();
        return Err(Failure::new(format!("this would erase {}", places.join(" and ")))
            .hint("say `--yes` where nobody can be asked"));
    }
    for (place, ready) in jobs {
        message::words(&format!("{}: {}", place.shown(), place.describe()));
        if let Some(there) = what_is_on(context, place) {
            message::words(&format!("  now holds {there}"));
        }
        message::words(&format!("  gets {}", ready.name));
    }
    confirmed("Erase it?")
}

/// Asks a question whose answer should be yes.
///
/// # Errors
/// It is something else.
pub fn confirmed(question: &str) -> Result<(), Failure> {
    match line(&format!("{question} [y/N] "))?.as_str() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::new("nothing was written")),
    }
}

/// The node on a card, when it is one of ours and may be read.
fn what_is_on(context: &Context, place: &Place) -> Option<String> {
    let (source, _) = context.image_source(place.path()).ok()?;
    on_card(&Image::open(source).ok()?).sentence()
}
