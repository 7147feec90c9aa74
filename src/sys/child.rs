//! Programs of the system that the flasher asks.

use std::io;
use std::process::{Command, Stdio};

/// What a program prints, when it ends well. Its words are those of no language: `LC_ALL=C`.
///
/// # Errors
/// It is missing, or it failed; then the error holds the last line of what it said.
pub fn output(program: &str, args: &[&str]) -> io::Result<Vec<u8>> {
    let done = Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    let why = last.map_or_else(|| done.status.to_string(), |line| line.trim().to_owned());
    Err(io::Error::other(why))
}
