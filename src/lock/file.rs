//! The file: read, and written by rename so that it is whole at every moment.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Entry, Key, Lock, LockError, parse, print};
use crate::emit::{EmitError, Output};

/// Longest lock that is read, in bytes: thousands of entries.
const MAX_LEN: u64 = 4 << 20;

/// How often, and how long apart, it is tried to write while another process does.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// A lock and the file that it is kept in.
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    lock: Lock,
    /// What was put in since the file was read.
    recorded: BTreeSet<Key>,
    /// What was asked for.
    used: BTreeSet<Key>,
    only_used: bool,
}

impl LockFile {
    /// Reads the file, which need not be there yet.
    ///
    /// # Errors
    /// It cannot be read, or is no lock.
    pub fn open(path: &Path) -> Result<Self, LockError> {
        Ok(Self {
            path: path.to_owned(),
            lock: read(path)?,
            recorded: BTreeSet::new(),
            used: BTreeSet::new(),
            only_used: false,
        })
    }

    /// The file's name, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// File and line of an entry, for messages.
    #[must_use]
    pub fn place(&self, key: &Key) -> String {
        match self.lock.entries.get(key) {
            Some((_, line)) if *line > 0 => format!("{}:{line}", self.name()),
            _ => self.name(),
        }
    }

    /// What an input must be.
    #[must_use]
    pub fn expect(&self, key: &Key) -> Option<&Entry> {
        self.lock.get(key)
    }

    /// All entries, sorted by key.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.lock.entries()
    }

    /// Notes that an input is still in use.
    pub fn mark_used(&mut self, key: Key) {
        self.used.insert(key);
    }

    /// Puts an entry in, in place of the one with its key. Nothing is written before [`LockFile::save`].
    pub fn record(&mut self, entry: Entry) {
        let key = entry.key();
        self.used.insert(key.clone());
        if self.lock.get(&key) != Some(&entry) {
            self.lock.put(entry);
            self.recorded.insert(key);
        }
    }

    /// From now on entries that were neither recorded nor marked are dropped when the lock is saved.
    pub fn keep_used_only(&mut self) {
        self.only_used = true;
    }

    /// Writes what was recorded, if that changes anything: over what the file holds at that moment, because another
    /// process may have added to it.
    ///
    /// # Errors
    /// It cannot be written, or is no lock any more. The file is as it was.
    pub fn save(&mut self) -> Result<(), LockError> {
        let stale = self.only_used && self.lock.entries().any(|e| !self.used.contains(&e.key()));
        if self.recorded.is_empty() && !stale {
            return Ok(());
        }
        let output = self.begin()?;
        let mut lock = read(&self.path)?;
        if self.only_used {
            lock.entries.retain(|key, _| self.used.contains(key));
        }
        for entry in self.lock.entries() {
            if self.recorded.contains(&entry.key()) {
                lock.put(entry.clone());
            }
        }
        let text = print(&lock);
        let name = self.name();
        // An entry that would be read back as another is worth nothing; and this gives the new lines.
        let again = parse(&text, &name)?;
        if !again.entries().eq(lock.entries()) {
            return Err(self.unwritten(io::Error::other("the lock would be read back as another")));
        }
        io::Write::write_all(&mut output.file(), text.as_bytes()).map_err(|e| self.unwritten(e))?;
        output.finish().map_err(|e| self.unwritten(e))?;
        self.lock = again;
        self.recorded.clear();
        Ok(())
    }

    /// The new file, held alone.
    fn begin(&self) -> Result<Output, LockError> {
        let mut tries = 0;
        loop {
            match Output::create(&self.path) {
                Err(EmitError::Busy(_)) if tries < TRIES => {
                    tries += 1;
                    std::thread::sleep(PAUSE);
                }
                result => return result.map_err(|e| self.unwritten(e)),
            }
        }
    }

    fn unwritten(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> LockError {
        LockError::Write {
            path: self.path.clone(),
            source: source.into(),
        }
    }
}

fn read(path: &Path) -> Result<Lock, LockError> {
    let failed = |source| LockError::Read {
        path: path.to_owned(),
        source,
    };
    match std::fs::metadata(path) {
        Ok(meta) if meta.len() > MAX_LEN => {
            return Err(failed(io::Error::other(format!(
                "it is longer than {MAX_LEN} bytes"
            ))));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lock::default()),
        Err(error) => return Err(failed(error)),
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    parse(&text, &path.display().to_string())
}
