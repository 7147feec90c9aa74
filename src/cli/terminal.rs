//! A terminal that does not show what is typed, and is as it was afterwards: also when an interrupt ends the program.

use std::io;
use std::sync::{Mutex, PoisonError};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// What the terminal was like before it was made quiet.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// As long as this value lives, what is typed is not shown.
#[derive(Debug)]
pub struct Quiet(());

impl Quiet {
    /// Makes the terminal on standard input quiet.
    ///
    /// # Errors
    /// Standard input is no terminal.
    pub fn new() -> io::Result<Self> {
        let stdin = io::stdin();
        let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
        let now = tcgetattr(&stdin)?;
        let mut quiet = now.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        *before = Some(now);
        tcsetattr(&stdin, OptionalActions::Flush, &quiet)?;
        Ok(Self(()))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        restore();
    }
}

/// Makes the terminal what it was. Returns whether it was quiet: then somebody is being asked.
pub fn restore() -> bool {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(before) = before else {
        return false;
    };
    // A terminal that is gone has no echo to get back.
    let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &before);
    true
}
