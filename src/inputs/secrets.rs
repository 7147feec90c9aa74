//! The file of secrets: read, completed, written so that nobody else can read it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::secrets::{Outside, Secret, SecretStore, Source};
use crate::spec::{parse_secrets, with_secrets};

use super::{InputError, MAX_TEXT};

/// Longest value that a file or a program may give, in bytes.
const MAX_VALUE: u64 = 64 << 10;

/// The secrets of a cluster and the file that they are kept in.
#[derive(Debug)]
pub struct SecretFile {
    path: PathBuf,
    text: String,
    /// The secrets themselves.
    pub store: SecretStore,
}

impl SecretFile {
    /// Reads the file, which need not be there yet.
    ///
    /// # Errors
    /// [`InputError`]: it cannot be read, is no YAML, or others than its owner may read it.
    pub fn open(path: &Path) -> Result<Self, InputError> {
        let read = |source| InputError::Read {
            origin: None,
            path: path.to_owned(),
            source,
        };
        let mut text = String::new();
        match File::open(path) {
            Ok(file) => {
                let meta = file.metadata().map_err(read)?;
                if meta.mode() & 0o077 != 0 {
                    return Err(unfit(
                        path,
                        format!(
                            "has mode {:04o}, so others may read the secrets in it; run `chmod 600` on it",
                            meta.mode() & 0o7777
                        ),
                    ));
                }
                if meta.len() > MAX_TEXT {
                    return Err(unfit(path, format!("is longer than {MAX_TEXT} bytes")));
                }
                file.take(MAX_TEXT).read_to_string(&mut text).map_err(read)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(read(error)),
        }
        let name = path.display().to_string();
        let sources = parse_secrets(&name, &text)?;
        Ok(Self {
            path: path.to_owned(),
            text,
            store: SecretStore::new(&name, sources),
        })
    }

    /// Writes what was made since, if anything was: a new file with mode 0600 beside the old one, which it then
    /// replaces; and a line in the folder's `.gitignore`.
    ///
    /// # Errors
    /// [`InputError`]: it cannot be written. The old file is as it was.
    pub fn save(&mut self) -> Result<(), InputError> {
        if self.store.made().is_empty() {
            return Ok(());
        }
        let write = |source| InputError::Write {
            path: self.path.clone(),
            source,
        };
        let values = self.store.sources().filter_map(|(name, source)| match source {
            Source::Value(value) if self.store.made().contains(name) => Some((name, value)),
            _ => None,
        });
        let name = self.path.display().to_string();
        let text = with_secrets(&self.text, values).map_err(|e| write(io::Error::other(e)))?;
        // A secret that would be read back as another is lost.
        let again = parse_secrets(&name, &text)?;
        if !self
            .store
            .sources()
            .eq(again.iter().map(|(name, source)| (name.as_str(), source)))
        {
            return Err(write(io::Error::other(
                "the secrets would be read back as others",
            )));
        }
        let mut part = self.path.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let result = write_private(&part, text.as_bytes()).and_then(|()| fs::rename(&part, &self.path));
        if let Err(error) = result {
            let _ = fs::remove_file(&part);
            return Err(write(error));
        }
        ignore(&self.path).map_err(write)?;
        self.text = text;
        self.store = SecretStore::new(&name, again);
        Ok(())
    }
}

fn unfit(path: &Path, why: String) -> InputError {
    InputError::Unfit {
        origin: None,
        path: path.to_owned(),
        why,
    }
}

/// A file that only its owner can read from its first moment on.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // What is left of an interrupted run.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Keeps the file out of version control.
fn ignore(path: &Path) -> io::Result<()> {
    let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
        return Ok(());
    };
    let list = path.with_file_name(".gitignore");
    let known = match fs::read_to_string(&list) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let line = format!("/{name}");
    if known.lines().any(|l| l.trim() == line || l.trim() == name) {
        return Ok(());
    }
    let gap = if known.is_empty() || known.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let mut file = OpenOptions::new().append(true).create(true).open(&list)?;
    file.write_all(format!("{gap}{line}\n").as_bytes())
}

/// Environment, files and programs, as sources of secrets; and randomness.
pub struct Resolver<'a> {
    /// A variable of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Random bytes.
    pub fill: &'a mut dyn FnMut(&mut [u8]) -> io::Result<()>,
}

impl std::fmt::Debug for Resolver<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

impl Outside for Resolver<'_> {
    fn resolve(&mut self, _name: &str, source: &Source) -> Result<Secret, String> {
        let bytes = match source {
            Source::Value(value) => return Ok(value.clone()),
            Source::Environment(variable) => {
                return (self.variable)(variable)
                    .filter(|value| !value.is_empty())
                    .map(Secret::new)
                    .ok_or_else(|| format!("`{variable}` is not set in the environment"));
            }
            Source::File(path) => {
                let mut bytes = Vec::new();
                File::open(path)
                    .and_then(|file| file.take(MAX_VALUE + 1).read_to_end(&mut bytes))
                    .map_err(|e| format!("cannot read `{}`: {e}", path.display()))?;
                bytes
            }
            Source::Command(words) => command(words)?,
        };
        if bytes.len() as u64 > MAX_VALUE {
            return Err(format!("{source} gives more than {MAX_VALUE} bytes"));
        }
        let text =
            String::from_utf8(bytes).map_err(|_| format!("{source} gives something that is no text"))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err(format!("{source} gives nothing"));
        }
        Ok(Secret::new(text))
    }

    fn fill(&mut self, buf: &mut [u8]) -> io::Result<()> {
        (self.fill)(buf)
    }
}

/// What a program prints. It may ask on the terminal, as pinentry does; its own complaints go there, too.
fn command(words: &[String]) -> Result<Vec<u8>, String> {
    let program = words.first().map_or("", String::as_str);
    let mut child = Command::new(program)
        .args(&words[1..])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot run `{program}`: {e}"))?;
    let mut bytes = Vec::new();
    let mut read = Ok(0);
    if let Some(out) = child.stdout.take() {
        read = out.take(MAX_VALUE + 1).read_to_end(&mut bytes);
    }
    let status = child
        .wait()
        .map_err(|e| format!("cannot wait for `{program}`: {e}"))?;
    read.map_err(|e| format!("cannot read what `{program}` prints: {e}"))?;
    if !status.success() {
        return Err(format!("`{program}` failed ({status})"));
    }
    Ok(bytes)
}
