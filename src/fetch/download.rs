//! A file that grows in the cache while it is read: what is there already, then the rest from the network.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::Fetcher;
use super::error::{FetchError, Result};
use super::http::{Failure, FailureKind, Head, Resume, Told, failure_error};
use super::store::{read_json, remove_if_there, write_json};
use crate::values::shown_url;

/// What is known about a partial file, kept beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sidecar {
    url: String,
    etag: Option<String>,
    last_modified: Option<String>,
    length: Option<u64>,
}

/// The partial file of one download.
#[derive(Debug)]
struct Part {
    file: File,
    path: PathBuf,
    len: u64,
    sidecar: Sidecar,
}

impl Part {
    fn open(path: PathBuf) -> Result<Self> {
        let mut options = File::options();
        options.create(true).truncate(false).read(true).write(true);
        let file = options
            .open(&path)
            .map_err(|e| FetchError::io("opening", &path, e))?;
        let len = file
            .metadata()
            .map_err(|e| FetchError::io("reading", &path, e))?
            .len();
        let mut part = Self {
            sidecar: read_json(&sidecar_path(&path)).unwrap_or_default(),
            file,
            path,
            len,
        };
        if part.len > 0 && part.sidecar.url.is_empty() {
            part.reset()?;
        }
        Ok(part)
    }

    fn reset(&mut self) -> Result<()> {
        self.file
            .set_len(0)
            .map_err(|e| FetchError::io("writing", &self.path, e))?;
        self.len = 0;
        self.sidecar = Sidecar::default();
        Ok(())
    }

    fn append(&mut self, data: &[u8]) -> Result<()> {
        let done = self.file.write_all_at(data, self.len);
        done.map_err(|e| FetchError::io("writing", &self.path, e))?;
        self.len += data.len() as u64;
        Ok(())
    }

    /// How to ask `url` for the rest; `None` when the part must not be continued from there.
    fn resume(&self, url: &Url, pinned: bool) -> Option<Resume> {
        let side = &self.sidecar;
        let validator = side.etag.as_ref().or(side.last_modified.as_ref());
        let if_range = match validator {
            Some(validator) if side.url == shown_url(url.as_str()) => Some(validator.clone()),
            // Elsewhere the validators mean nothing, but a digest to be met at the end makes up for them.
            _ if pinned && side.length.is_some() => None,
            _ => return None,
        };
        Some(Resume {
            from: self.len,
            if_range,
        })
    }

    /// Whether a part of the file that `head` announces continues this one.
    fn continued_by(&self, head: &Head, url: &Url) -> bool {
        let side = &self.sidecar;
        let same_length = side.length.is_none() || head.total.is_none() || side.length == head.total;
        let same_tag = side.url != shown_url(url.as_str())
            || side.etag.is_none()
            || head.etag.is_none()
            || side.etag == head.etag;
        head.start == self.len && same_length && same_tag
    }
}

pub(super) fn sidecar_path(part: &Path) -> PathBuf {
    part.with_extension("part.json")
}

/// Removes a partial file and what is known about it.
pub(super) fn discard(part: &Path) -> Result<()> {
    remove_if_there(part)?;
    remove_if_there(&sidecar_path(part))
}

/// A download as a reader.
pub(super) struct Download<'a> {
    fetcher: &'a Fetcher,
    places: Vec<Url>,
    pinned: bool,
    part: Part,
    /// Which place is asked now, and how often it failed since it last brought anything.
    place: usize,
    failures: u32,
    told: Option<Receiver<Told>>,
    /// Bytes handed to the reader.
    given: u64,
    chunk: Vec<u8>,
    chunk_pos: usize,
    complete: bool,
    resumed: bool,
    restart: bool,
}

impl<'a> Download<'a> {
    /// Opens the partial file and the first connection that answers. With `pinned`, a digest will be compared at the
    /// end, so a part may be continued without the server's word for it.
    pub(super) fn open(fetcher: &'a Fetcher, places: Vec<Url>, pinned: bool, part: &Path) -> Result<Self> {
        let part = Part::open(part.to_owned())?;
        let mut download = Self {
            fetcher,
            places,
            pinned,
            part,
            place: 0,
            failures: 0,
            told: None,
            given: 0,
            chunk: Vec::new(),
            chunk_pos: 0,
            complete: false,
            resumed: false,
            restart: false,
        };
        if pinned && download.part.len > 0 && download.part.sidecar.length == Some(download.part.len) {
            download.complete = true;
            download.resumed = true;
        } else {
            download.connect()?;
        }
        Ok(download)
    }

    /// Length of the whole file, where known.
    pub(super) fn total(&self) -> Option<u64> {
        self.part.sidecar.length
    }

    /// Whether bytes of an earlier connection or run are in use.
    pub(super) fn resumed(&self) -> bool {
        self.resumed
    }

    /// Whether the file turned out to be another one after bytes had been handed on: all must begin anew.
    pub(super) fn must_restart(&self) -> bool {
        self.restart
    }

    fn connect(&mut self) -> Result<()> {
        loop {
            let url = self.places[self.place].clone();
            let resume = if self.part.len > 0 {
                self.part.resume(&url, self.pinned)
            } else {
                None
            };
            let asked_for_rest = resume.is_some();
            let told = self
                .fetcher
                .http
                .get(&url, resume, &self.fetcher.options.patience);
            match self.fetcher.hear(&told)? {
                Told::Head(head) => {
                    let continues = head.partial && self.part.continued_by(&head, &url);
                    if head.partial && !continues {
                        self.begin_anew()?;
                        continue;
                    }
                    if !continues && self.part.len > 0 {
                        self.begin_anew()?;
                    }
                    self.resumed |= continues;
                    self.adopt(&url, head)?;
                    self.told = Some(told);
                    return Ok(());
                }
                Told::Failed(failure) if failure.kind == FailureKind::BadRange && asked_for_rest => {
                    self.begin_anew()?;
                }
                Told::Failed(failure) => self.failed(&url, failure)?,
                Told::Data(_) | Told::End => {}
            }
        }
    }

    /// Throws the part away. When some of it was handed on, the reader must begin anew as well.
    fn begin_anew(&mut self) -> Result<()> {
        self.part.reset()?;
        self.resumed = false;
        if self.given > 0 {
            self.restart = true;
            return Err(FetchError::Download {
                url: shown_url(self.places[self.place].as_str()),
                detail: "the file changed on the server while it was being fetched, or cannot be continued"
                    .to_owned(),
            });
        }
        Ok(())
    }

    fn adopt(&mut self, url: &Url, head: Head) -> Result<()> {
        self.part.sidecar = Sidecar {
            url: shown_url(url.as_str()),
            etag: head.etag,
            last_modified: head.last_modified,
            length: head.total,
        };
        write_json(&sidecar_path(&self.part.path), &self.part.sidecar)
    }

    /// Counts a failure: waits for the next attempt, moves on to the next place, or gives up.
    fn failed(&mut self, url: &Url, failure: Failure) -> Result<()> {
        self.told = None;
        self.failures += 1;
        let lasting = matches!(failure.kind, FailureKind::Lasting | FailureKind::BadRange);
        if !lasting && self.failures <= self.fetcher.options.patience.retries {
            self.fetcher.note(&format!(
                "{} from `{}`; trying again",
                failure.detail,
                shown_url(url.as_str())
            ));
            return self.fetcher.pause(self.failures, failure.retry_after);
        }
        if self.place + 1 < self.places.len() {
            self.place += 1;
            self.failures = 0;
            self.fetcher.note(&format!(
                "{} from `{}`; trying `{}`",
                failure.detail,
                shown_url(url.as_str()),
                shown_url(self.places[self.place].as_str())
            ));
            return Ok(());
        }
        Err(failure_error(url, failure))
    }

    fn next(&mut self, buf: &mut [u8]) -> Result<usize> {
        loop {
            if self.given < self.part.len && self.chunk_pos == self.chunk.len() {
                let want = buf
                    .len()
                    .min(usize::try_from(self.part.len - self.given).unwrap_or(usize::MAX));
                let n = self.part.file.read_at(&mut buf[..want], self.given);
                let n = n.map_err(|e| FetchError::io("reading", &self.part.path, e))?;
                self.given += n as u64;
                return Ok(n);
            }
            if self.chunk_pos < self.chunk.len() {
                let n = buf.len().min(self.chunk.len() - self.chunk_pos);
                buf[..n].copy_from_slice(&self.chunk[self.chunk_pos..self.chunk_pos + n]);
                self.chunk_pos += n;
                self.given += n as u64;
                return Ok(n);
            }
            if self.complete {
                return Ok(0);
            }
            let Some(told) = &self.told else {
                self.connect()?;
                continue;
            };
            match self.fetcher.hear(told)? {
                Told::Data(data) => self.arrived(data)?,
                Told::End => self.ended()?,
                Told::Failed(failure) => {
                    let url = self.places[self.place].clone();
                    self.failed(&url, failure)?;
                }
                Told::Head(_) => {}
            }
        }
    }

    fn arrived(&mut self, data: Vec<u8>) -> Result<()> {
        self.failures = 0;
        self.part.append(&data)?;
        if self.part.len > self.fetcher.options.max_raw.0 {
            return Err(FetchError::TooLarge {
                subject: self.places[self.place].to_string(),
                limit: self.fetcher.options.max_raw,
            });
        }
        self.chunk = data;
        self.chunk_pos = 0;
        Ok(())
    }

    fn ended(&mut self) -> Result<()> {
        self.told = None;
        match self.part.sidecar.length {
            Some(length) if length != self.part.len => {
                let url = self.places[self.place].clone();
                let detail = format!("{length} bytes were announced and {} came", self.part.len);
                let failure = Failure {
                    kind: FailureKind::Passing,
                    detail,
                    retry_after: None,
                };
                if self.part.len > length {
                    self.begin_anew()?;
                }
                self.failed(&url, failure)
            }
            _ => {
                self.complete = true;
                Ok(())
            }
        }
    }
}

impl Read for Download<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.next(buf).map_err(io::Error::other)
    }
}
