//! Writing one card, by this process or by one that `sudo` starts.
//!
//! The other process gets a request of one line and asks for the bytes of the image piece by piece; it opens nothing but
//! the device, judges it again, and knows nothing of clusters.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Ready;
use super::target::{self, Place};
use crate::cli::args;
use crate::cli::context::Context;
use crate::cli::message::{self, Failure, Outcome};
use crate::disk::Source;
use crate::flash::{self, Allow, Card, FlashError, Flashed, Job};
use crate::report::{Event, Reporter, Step};
use crate::sys::disks::{self, Disk, ThisHost};
use crate::sys::{Device, Opened, eject, unmount};

/// Requests on their way at once, where the device does not say how many it takes.
const DEPTH: u32 = 4;
/// Longest line of the protocol.
const MAX_LINE: u64 = 64 << 20;

/// What the writing process is asked to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    device: PathBuf,
    /// The device must still be of this size and model.
    size: u64,
    model: String,
    image: u64,
    used: Vec<Range<u64>>,
    allow_fixed: bool,
    allow_large: bool,
    allow_member: bool,
    discard: bool,
    probe: bool,
    eject: bool,
    patience: Duration,
}

impl Request {
    const fn allow(&self) -> Allow {
        Allow {
            fixed: self.allow_fixed,
            large: self.allow_large,
            member: self.allow_member,
        }
    }
}

/// What the writing process says, a line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    /// It wants bytes of the image: they follow, after a byte that is 0.
    Read {
        at: u64,
        len: usize,
    },
    Start {
        step: usize,
        total: Option<u64>,
    },
    Advance {
        step: usize,
        done: u64,
    },
    End {
        step: usize,
    },
    Note {
        text: String,
    },
    Done {
        used: u64,
        written: u64,
        verified: u64,
        discarded: Option<bool>,
    },
    Failed {
        text: String,
        causes: Vec<String>,
        hints: Vec<String>,
    },
}

const STEPS: [Step; 2] = [Step::Flash, Step::Verify];

fn index(step: Step) -> usize {
    STEPS.iter().position(|s| *s == step).unwrap_or_default()
}

/// How many requests are on their way at once.
fn requests(device: Option<u32>) -> usize {
    device.unwrap_or(DEPTH).clamp(1, DEPTH) as usize
}

/// Writes one card.
pub fn write(
    cancel: &Arc<AtomicBool>,
    args: &args::Flash,
    place: &Place,
    ready: &Ready,
    reporter: &dyn Reporter,
) -> Result<Flashed, Failure> {
    let job = |depth: Option<u32>| Job {
        source: Arc::clone(&ready.source),
        used: ready.used.clone(),
        discard: args.discard,
        probe: !args.no_probe,
        depth: requests(depth),
        patience: args.writing.patience,
        cancel: Arc::clone(cancel),
    };
    let disk = match place {
        Place::File { path, len } => {
            let device = open(path, *len)?;
            return onto(device, &job(None), &place.shown(), reporter);
        }
        Place::Disk(disk) => disk,
    };
    let may_write = rustix::fs::access(&disk.raw, rustix::fs::Access::WRITE_OK).is_ok();
    if may_write {
        let request = request(args, disk, ready);
        return onto_disk(&request, disk, &job(disk.queue_depth), reporter);
    }
    if args.writing.sudo {
        return by_sudo(&request(args, disk, ready), ready, reporter);
    }
    Err(
        Failure::new(format!("{} is not yours to write", disk.path.display()))
            .hint("`--sudo` runs the writer alone as root, and nothing else")
            .hint(format!(
                "or make it yours: `sudo chown $USER {}`",
                disk.raw.display()
            )),
    )
}

fn request(args: &args::Flash, disk: &Disk, ready: &Ready) -> Request {
    let Allow { fixed, large, member } = target::allowed(&args.writing);
    Request {
        device: disk.path.clone(),
        size: disk.size,
        model: disk.model.clone(),
        image: ready.source.len(),
        used: ready.used.clone(),
        allow_fixed: fixed,
        allow_large: large,
        allow_member: member,
        discard: args.discard,
        probe: !args.no_probe,
        eject: !args.writing.no_eject,
        patience: args.writing.patience,
    }
}

/// Opens what is written.
pub fn open(path: &Path, len: u64) -> Result<Device, Failure> {
    Device::open(path, Opened::Alone, len).map_err(|e| match e.kind() {
        io::ErrorKind::ResourceBusy => {
            Failure::new(format!("{} is in use by another program", path.display()))
                .hint("close what uses it; a desktop may have mounted it")
        }
        io::ErrorKind::ReadOnlyFilesystem => Failure::new(format!("{} is write-protected", path.display()))
            .hint("slide the switch of the card away from LOCK"),
        _ => Failure::from(e).while_doing(format!("cannot open {}", path.display())),
    })
}

/// Unmounts, opens, writes, and lets go of a disk.
fn onto_disk(request: &Request, disk: &Disk, job: &Job, reporter: &dyn Reporter) -> Result<Flashed, Failure> {
    unmount(disk)?;
    let device = open(&disk.raw, disk.size)?;
    // Between the question and now, the reader may have got another card.
    let again = disks::disk(&ThisHost, &disk.path.to_string_lossy())?;
    if (again.size, &again.model) != (request.size, &request.model) {
        return Err(Failure::new(format!(
            "{} is another disk than before",
            disk.path.display()
        )));
    }
    target::permit_disk(&again, request.image, request.allow())?;
    let done = onto(device, job, &disk.path.display().to_string(), reporter)?;
    if request.eject && disk.removable == Some(true) && eject(disk).is_err() {
        reporter.event(&Event::Note {
            text: "all is written, but the system did not eject it: it can be pulled out",
        });
    }
    Ok(done)
}

fn onto(device: Device, job: &Job, subject: &str, reporter: &dyn Reporter) -> Result<Flashed, Failure> {
    if !device.is_direct() {
        reporter.event(&Event::Note {
            text: "the cache of the system cannot be passed by here: reading back proves less",
        });
    }
    let card: Arc<dyn Card> = Arc::new(device);
    let done = flash::flash(&card, job, subject, reporter).map_err(with_hint)?;
    if let Err(error) = card.reread_table() {
        let text = format!("all is written, but the system still has the old partitions: {error}");
        reporter.event(&Event::Note { text: &text });
    }
    Ok(done)
}

/// The error with what to try.
pub fn with_hint(error: FlashError) -> Failure {
    let hint = error.hint();
    Failure::from(error).hint(hint)
}

/// Starts the writing process and serves it.
fn by_sudo(request: &Request, ready: &Ready, reporter: &dyn Reporter) -> Result<Flashed, Failure> {
    let program = std::env::current_exe()?;
    let mut child = Command::new("sudo")
        .arg("--")
        .arg(program)
        .arg("flash-writer")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| Failure::from(e).while_doing("cannot run `sudo`"))?;
    let (Some(mut to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(Failure::new("the writer has no pipes"));
    };
    let served = serve_child(request, ready, reporter, &mut to, BufReader::new(from));
    drop(to);
    let status = child.wait()?;
    match served? {
        Some(result) => result,
        None => Err(Failure::new(format!("the writer ended without a word: {status}"))),
    }
}

type Outcomes = Option<Result<Flashed, Failure>>;

fn serve_child(
    request: &Request,
    ready: &Ready,
    reporter: &dyn Reporter,
    to: &mut dyn Write,
    mut from: impl BufRead,
) -> Result<Outcomes, Failure> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    to.write_all(&line)?;
    let mut buf = Vec::new();
    let mut text = String::new();
    loop {
        text.clear();
        if from.by_ref().take(MAX_LINE).read_line(&mut text)? == 0 {
            return Ok(None);
        }
        match serde_json::from_str(&text)? {
            Said::Read { at, len } => {
                buf.resize(len + 1, 0);
                buf[0] = 0;
                match ready.source.read_at(at, &mut buf[1..]) {
                    Ok(()) => to.write_all(&buf)?,
                    Err(error) => {
                        to.write_all(&[1])?;
                        to.write_all(format!("{error}\n").as_bytes())?;
                    }
                }
                to.flush()?;
            }
            Said::Start { step, total } => reporter.event(&Event::Start {
                step: STEPS[step.min(1)],
                subject: &ready.name,
                total,
            }),
            Said::Advance { step, done } => reporter.event(&Event::Advance {
                step: STEPS[step.min(1)],
                done,
            }),
            Said::End { step } => reporter.event(&Event::End {
                step: STEPS[step.min(1)],
            }),
            Said::Note { text } => reporter.event(&Event::Note { text: &text }),
            Said::Done {
                used,
                written,
                verified,
                discarded,
            } => {
                return Ok(Some(Ok(Flashed {
                    used,
                    written,
                    verified,
                    discarded,
                })));
            }
            Said::Failed { text, causes, hints } => {
                let mut failure = Failure::new(
                    causes
                        .into_iter()
                        .fold(text, |all, cause| format!("{all}: {cause}")),
                );
                for hint in hints {
                    failure = failure.hint(hint);
                }
                return Ok(Some(Err(failure)));
            }
        }
    }
}

/// The two pipes of the writing process; a question and its answer belong together.
struct Pipes {
    from: BufReader<io::Stdin>,
}

/// The image at the other end of the pipes.
struct Far {
    pipes: Arc<Mutex<Pipes>>,
    len: u64,
}

impl std::fmt::Debug for Far {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Far({} bytes)", self.len)
    }
}

impl Source for Far {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        message::json(&Said::Read {
            at: offset,
            len: buf.len(),
        })?;
        let mut ok = [0];
        pipes.from.read_exact(&mut ok)?;
        if ok[0] == 0 {
            return pipes.from.read_exact(buf);
        }
        let mut text = String::new();
        pipes.from.by_ref().take(MAX_LINE).read_line(&mut text)?;
        Err(io::Error::other(text.trim().to_owned()))
    }
}

/// Progress goes through the pipe, a whole line at a time.
struct Told;

impl Reporter for Told {
    fn event(&self, event: &Event<'_>) {
        let said = match event {
            Event::Start { step, total, .. } => Said::Start {
                step: index(*step),
                total: *total,
            },
            Event::Advance { step, done } => Said::Advance {
                step: index(*step),
                done: *done,
            },
            Event::End { step } => Said::End { step: index(*step) },
            Event::Note { text } | Event::Warning { text } => Said::Note {
                text: (*text).to_owned(),
            },
        };
        // The other side is gone: the next question tells.
        let _ = message::json(&said);
    }
}

/// `ceil-img flash-writer`: writes one card as the process at the other end of the pipes asks.
pub fn serve(context: &Context) -> Result<Outcome, Failure> {
    let mut from = BufReader::new(io::stdin());
    let mut line = String::new();
    from.by_ref().take(MAX_LINE).read_line(&mut line)?;
    let request: Request = serde_json::from_str(&line)
        .map_err(|e| Failure::from(e).while_doing("this command is for `ceil-img flash --sudo` alone"))?;
    let said = match serve_request(context, &request, from) {
        Ok(done) => Said::Done {
            used: done.used,
            written: done.written,
            verified: done.verified,
            discarded: done.discarded,
        },
        Err(failure) => {
            let value = failure.to_json();
            let list = |key: &str| serde_json::from_value(value[key].clone()).unwrap_or_default();
            Said::Failed {
                text: failure.sentence(),
                causes: list("causes"),
                hints: list("hints"),
            }
        }
    };
    message::json(&said)?;
    Ok(Outcome::Done)
}

fn serve_request(
    context: &Context,
    request: &Request,
    from: BufReader<io::Stdin>,
) -> Result<Flashed, Failure> {
    let disk = disks::disk(&ThisHost, &request.device.to_string_lossy())?;
    target::permit_disk(&disk, request.image, request.allow())?;
    let in_order = request.used.windows(2).all(|pair| pair[0].end <= pair[1].start);
    let inside = request
        .used
        .iter()
        .all(|r| r.start < r.end && r.end <= request.image);
    if !in_order || !inside {
        return Err(Failure::new(
            "the request names ranges that are not those of an image",
        ));
    }
    let job = Job {
        source: Arc::new(Far {
            pipes: Arc::new(Mutex::new(Pipes { from })),
            len: request.image,
        }),
        used: request.used.clone(),
        discard: request.discard,
        probe: request.probe,
        depth: requests(disk.queue_depth),
        patience: request.patience,
        cancel: Arc::clone(&context.cancel),
    };
    onto_disk(request, &disk, &job, &Told)
}
