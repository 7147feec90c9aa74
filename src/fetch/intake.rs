//! From a stream of bytes as they came to a verified object: hash, unpack, hash, write, compare, keep.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use super::error::{FetchError, Result};
use super::sink::{PourError, PourOptions, Poured, pour};
use super::store::{Held, Incoming, ObjectKind};
use super::unpack::{Format, SNIFF_LEN, decoder, image_problem, read_full};
use super::{Fetcher, zip};
use crate::report::{Event, Step};
use crate::values::{ByteSize, Digest, DigestKind, Hasher};

/// Bytes read at a time.
const BUFFER: usize = 256 << 10;

/// What is taken in, and what it must be.
#[derive(Debug)]
pub(super) struct Intake<'a> {
    /// The file or URL, for messages.
    pub subject: &'a str,
    /// Digest of the file as it comes.
    pub file: Option<&'a Digest>,
    /// Digest of the object.
    pub object: Option<&'a Digest>,
    pub kind: ObjectKind,
    pub step: Step,
    /// Length of the file as it comes, where known.
    pub total: Option<u64>,
    /// Where the bytes that were read can be read again, for formats that need to seek.
    pub seekable: &'a Path,
}

/// What was taken in.
#[derive(Debug)]
pub(super) struct Taken {
    pub held: Held,
    pub format: Format,
    /// Digests of the file as it came: SHA-256 first.
    pub file: Vec<Digest>,
    pub file_len: u64,
    /// Digests of the object: SHA-256 first.
    pub object: Vec<Digest>,
    pub object_len: u64,
}

/// Hands bytes on, counts and hashes them, tells the progress, and heeds a stop.
struct Meter<'a, R> {
    inner: R,
    fetcher: &'a Fetcher,
    intake: &'a Intake<'a>,
    state: Rc<RefCell<MeterState>>,
}

#[derive(Debug)]
struct MeterState {
    hashers: Vec<Hasher>,
    len: u64,
    fault: Option<FetchError>,
}

impl<R: Read> Read for Meter<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state.borrow_mut();
        if self.fetcher.cancelled() {
            state.fault = Some(FetchError::Cancelled);
            return Err(io::Error::other("stopped"));
        }
        let n = match self.inner.read(buf) {
            Ok(n) => n,
            Err(e) => {
                if e.kind() == io::ErrorKind::Interrupted {
                    return Err(e);
                }
                let text = io::Error::other(e.to_string());
                state.fault = Some(match e.downcast::<FetchError>() {
                    Ok(fault) => fault,
                    Err(e) => FetchError::io("reading", self.intake.seekable, e),
                });
                return Err(text);
            }
        };
        for hasher in &mut state.hashers {
            hasher.update(&buf[..n]);
        }
        state.len += n as u64;
        self.fetcher.options.reporter.event(&Event::Advance {
            step: self.intake.step,
            done: state.len,
        });
        Ok(n)
    }
}

impl Fetcher {
    /// Takes `input` in. On any error nothing is left in the cache.
    pub(super) fn take_in(&self, input: impl Read, intake: &Intake<'_>) -> Result<Taken> {
        self.options.reporter.event(&Event::Start {
            step: intake.step,
            subject: intake.subject,
            total: intake.total,
        });
        let mut hashers = vec![Hasher::new(DigestKind::Sha256)];
        if let Some(digest) = intake.file
            && digest.kind() != DigestKind::Sha256
        {
            hashers.push(Hasher::new(digest.kind()));
        }
        let state = Rc::new(RefCell::new(MeterState {
            hashers,
            len: 0,
            fault: None,
        }));
        let mut input = BufReader::with_capacity(
            BUFFER,
            Meter {
                inner: input,
                fetcher: self,
                intake,
                state: Rc::clone(&state),
            },
        );
        // A connection may bring its first bytes one by one; the format shows only in several of them.
        let mut head = vec![0; SNIFF_LEN];
        let filled = read_full(&mut input, &mut head);
        head.truncate(*filled.as_ref().unwrap_or(&0));
        let image = intake.kind == ObjectKind::Raw;
        let looks_good = !image || image_problem(&head).is_none();
        let format = if image { Format::of(&head) } else { Format::Raw };
        let mut input = io::Cursor::new(head).chain(input);
        let result = match filled {
            Ok(_) => self.unpack(&mut input, format, looks_good, intake, &state),
            Err(e) => Err(damaged(intake, &e)),
        };
        if let Some(fault) = state.borrow_mut().fault.take() {
            return Err(fault);
        }
        let (new, poured) = match result {
            Ok(done) => done,
            Err(e) => return Err(self.judge_failure(e, &mut input, intake, &state)),
        };
        let (file, file_len) = {
            let mut state = state.borrow_mut();
            let digests: Vec<Digest> = state.hashers.drain(..).map(Hasher::finish).collect();
            // A raw file is its own object and was hashed once only.
            let same = digests.is_empty();
            (if same { poured.digests.clone() } else { digests }, state.len)
        };
        compare("digest of the file", intake, intake.file, &file, None)?;
        compare(
            "digest of the raw image",
            intake,
            intake.object,
            &poured.digests,
            None,
        )?;
        let held = self
            .store
            .keep(intake.kind, &poured.digests[0], new, intake.subject)?;
        self.options.reporter.event(&Event::End { step: intake.step });
        Ok(Taken {
            held,
            format,
            file,
            file_len,
            object: poured.digests,
            object_len: poured.len,
        })
    }

    fn unpack<R: BufRead>(
        &self,
        input: &mut R,
        format: Format,
        looks_good: bool,
        intake: &Intake<'_>,
        state: &RefCell<MeterState>,
    ) -> Result<(Incoming, Poured)> {
        let damaged = |e: io::Error| damaged(intake, &e);
        let mut also: Vec<DigestKind> = intake.object.iter().map(|d| d.kind()).collect();
        if format == Format::Raw {
            also.extend(intake.file.iter().map(|d| d.kind()));
            also.dedup();
            if looks_good {
                state.borrow_mut().hashers.clear();
            }
        }
        let new = self.store.incoming(intake.kind)?;
        let options = PourOptions {
            also: &also,
            limit: self.options.max_raw.0,
            image: intake.kind == ObjectKind::Raw,
        };
        let poured = if format == Format::Zip {
            io::copy(input, &mut io::sink()).map_err(damaged)?;
            // Wrong bytes are told as such, before anything is read into them.
            let found: Vec<Digest> = state
                .borrow()
                .hashers
                .iter()
                .cloned()
                .map(Hasher::finish)
                .collect();
            compare("digest of the file", intake, intake.file, &found, None)?;
            let open =
                || File::open(intake.seekable).map_err(|e| FetchError::io("opening", intake.seekable, e));
            zip::with_image(open()?, intake.subject, |image| {
                pour(image, &new.file, options).map_err(|e| self.pour_error(e, intake, &new.path))
            })?
        } else {
            let mut raw = decoder(format, &mut *input, self.xz_limits()).map_err(damaged)?;
            let poured =
                pour(&mut raw, &new.file, options).map_err(|e| self.pour_error(e, intake, &new.path))?;
            drop(raw);
            if !input.fill_buf().map_err(damaged)?.is_empty() {
                return Err(damaged(io::Error::other(format!(
                    "something else follows the {format} data"
                ))));
            }
            poured
        };
        Ok((new, poured))
    }

    fn pour_error(&self, error: PourError, intake: &Intake<'_>, path: &Path) -> FetchError {
        let subject = intake.subject.to_owned();
        match error {
            PourError::Read(e) if e.kind() == io::ErrorKind::UnexpectedEof => FetchError::Damaged {
                subject,
                detail: "it is cut short".to_owned(),
            },
            PourError::Read(e) => FetchError::Damaged {
                subject,
                detail: e.to_string(),
            },
            PourError::Write(e) => FetchError::io("writing", path, e),
            PourError::NotAnImage(reason) => FetchError::NotAnImage { subject, reason },
            PourError::TooLarge => FetchError::TooLarge {
                subject,
                limit: self.options.max_raw,
            },
        }
    }

    /// When bytes with a known digest do not unpack, the digest tells whether they are the wrong bytes: the rest is
    /// read only to find that out.
    fn judge_failure<R: BufRead>(
        &self,
        error: FetchError,
        input: &mut R,
        intake: &Intake<'_>,
        state: &RefCell<MeterState>,
    ) -> FetchError {
        let about_bytes = matches!(error, FetchError::Damaged { .. } | FetchError::NotAnImage { .. });
        if !about_bytes || intake.file.is_none() || state.borrow().hashers.is_empty() {
            return error;
        }
        let rest = io::copy(input, &mut io::sink());
        let mut state = state.borrow_mut();
        if let Some(fault) = state.fault.take() {
            return fault;
        }
        if rest.is_err() {
            return error;
        }
        let found: Vec<Digest> = state.hashers.drain(..).map(Hasher::finish).collect();
        let note = match &error {
            FetchError::NotAnImage { reason, .. } => reason.clone(),
            FetchError::Damaged { detail, .. } => detail.clone(),
            _ => String::new(),
        };
        match compare("digest of the file", intake, intake.file, &found, Some(note)) {
            Err(mismatch) => mismatch,
            Ok(()) => error,
        }
    }
}

fn damaged(intake: &Intake<'_>, error: &io::Error) -> FetchError {
    FetchError::Damaged {
        subject: intake.subject.to_owned(),
        detail: error.to_string(),
    }
}

fn compare(
    what: &'static str,
    intake: &Intake<'_>,
    expected: Option<&Digest>,
    found: &[Digest],
    note: Option<String>,
) -> Result<()> {
    let Some(expected) = expected else {
        return Ok(());
    };
    match found.iter().find(|d| d.kind() == expected.kind()) {
        Some(found) if found == expected => Ok(()),
        found => Err(FetchError::Mismatch {
            what,
            subject: intake.subject.to_owned(),
            expected: expected.clone(),
            found: found.unwrap_or(&Digest::sha256(b"")).clone(),
            note,
        }),
    }
}

/// A limit that no image passes by accident.
pub(super) const DEFAULT_MAX_RAW: ByteSize = ByteSize(256 * ByteSize::GIB);
