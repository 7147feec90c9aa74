//! A QEMU that does not outlive us.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long QEMU may take to end by itself once asked.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why emulated boards cannot run.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// QEMU is not installed.
    #[error(
        "there is no `{0}` here; the emulator is in Debian's package `qemu-system-arm` and in Homebrew's `qemu`"
    )]
    NoQemu(&'static str),
    /// QEMU cannot be started.
    #[error("cannot start `{program}`")]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// QEMU ended although nobody asked it to.
    #[error("the emulator of {what} ended with {status}: {words}")]
    Ended {
        /// `node \`one\`` or `the network`.
        what: String,
        /// How.
        status: ExitStatus,
        /// What it wrote.
        words: String,
    },
    /// A socket or a file of the emulator.
    #[error("cannot read or write `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Finds a program in the folders of a `PATH`.
///
/// # Errors
/// [`BootError::NoQemu`].
pub fn find_program(name: &'static str, path: &OsStr) -> Result<PathBuf, BootError> {
    std::env::split_paths(path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .ok_or(BootError::NoQemu(name))
}

/// A running program. Dropped, it is ended.
#[derive(Debug)]
pub struct Process {
    child: Child,
    words: PathBuf,
}

impl Process {
    /// Starts a program; what it writes goes to the file `words`.
    ///
    /// # Errors
    /// [`BootError::Start`], [`BootError::Io`].
    pub fn start(program: &Path, arguments: &[OsString], words: &Path) -> Result<Self, BootError> {
        let file = File::create(words).map_err(|source| BootError::Io {
            path: words.to_owned(),
            source,
        })?;
        let start = |source| BootError::Start {
            program: program.to_owned(),
            source,
        };
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone().map_err(start)?)
            .stderr(file)
            .spawn()
            .map_err(start)?;
        Ok(Self {
            child,
            words: words.to_owned(),
        })
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// The system cannot say.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// What it wrote, its last lines.
    #[must_use]
    pub fn words(&self) -> String {
        let text = fs::read_to_string(&self.words).unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(5)..].join("; ")
    }

    /// Cuts the power: the program has no chance to write anything more.
    pub fn cut(mut self) {
        // Ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end, so that what the guest wrote is complete in the card.
    pub fn ask_to_end(&self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        self.ask_to_end();
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(20)),
                _ => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_emulator_names_its_packages() {
        let folder = tempfile::tempdir().expect("folder");
        let error = find_program("qemu-system-aarch64", folder.path().as_os_str()).expect_err("missing");
        let text = error.to_string();
        assert!(
            text.contains("`qemu-system-arm`") && text.contains("`qemu`"),
            "{text}"
        );
    }

    #[test]
    fn a_program_ends_with_its_handle_even_when_it_does_not_want_to() {
        let folder = tempfile::tempdir().expect("folder");
        let alive = folder.path().join("alive");
        let script = format!(
            "trap '' TERM; echo words; : >{}; sleep 60 & wait; wait",
            alive.display()
        );
        let words = folder.path().join("words");
        let process =
            Process::start(Path::new("/bin/sh"), &["-c".into(), script.into()], &words).expect("started");
        while !alive.exists() {
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(process.words(), "words");
        let pid = Pid::from_raw(process.child.id() as i32).expect("pid");
        drop(process);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }
}
