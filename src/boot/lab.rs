//! Boards that run together: power on and off, faults at their time, what the consoles tell.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::console::{Console, State, Told};
use super::fault::Fault;
use super::machine::Machine;
use super::process::{BootError, Process, find_program};
use super::segment::Segment;

/// How long a guest may take to switch itself off at its button.
const BUTTON: Duration = Duration::from_secs(120);
/// How long a power cut lasts.
const CUT: Duration = Duration::from_secs(1);

/// A place for one board.
#[derive(Debug)]
pub struct Slot {
    /// Name of the node.
    pub name: String,
    /// The board.
    pub machine: Machine,
    /// The emulator, once it is found.
    program: PathBuf,
    console: Console,
    log: Option<File>,
    process: Option<Process>,
    state: State,
    /// When it gets its power.
    power_at: Option<Duration>,
    /// When its button is pressed.
    buttons: Vec<Duration>,
    /// When its power goes if the button did nothing.
    patience: Option<Duration>,
    /// Steps at whose beginning the power is cut.
    cuts: Vec<String>,
}

/// Something that became of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The node.
    pub node: String,
    /// Where it is now.
    pub state: State,
    /// A step that is done, and the seconds that it took by the node's own count.
    pub done: Option<(String, String)>,
    /// The fault that brought it here.
    pub fault: Option<String>,
}

impl Slot {
    /// A board without power that calls itself `hostname`, with the faults that concern it.
    #[must_use]
    pub fn new(name: &str, hostname: &str, machine: Machine, faults: &[Fault]) -> Self {
        let mut slot = Self {
            name: name.to_owned(),
            machine,
            program: PathBuf::new(),
            console: Console::new(hostname),
            log: None,
            process: None,
            state: State::Off,
            power_at: Some(Duration::ZERO),
            buttons: Vec::new(),
            patience: None,
            cuts: Vec::new(),
        };
        for fault in faults {
            if fault.node().is_some_and(|node| node != name) {
                continue;
            }
            match fault {
                Fault::Late { seconds, .. } => slot.power_at = Some(Duration::from_secs(*seconds)),
                Fault::Reboot { seconds, .. } => slot.buttons.push(Duration::from_secs(*seconds)),
                Fault::PowerCut { step, .. } => slot.cuts.push(step.clone()),
                Fault::NoUplink | Fault::Clock(_) => {}
            }
        }
        slot
    }

    /// Where the node is.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Its console.
    #[must_use]
    pub const fn console(&self) -> &Console {
        &self.console
    }

    /// Whether every fault that was meant for it has come.
    fn tried(&self) -> bool {
        self.cuts.is_empty() && self.buttons.is_empty() && self.power_at.is_none()
    }

    fn to(&mut self, state: State) -> Change {
        self.state = state;
        Change {
            node: self.name.clone(),
            state: self.state.clone(),
            done: None,
            fault: None,
        }
    }

    fn power(&mut self, words: &Path) -> Result<Change, BootError> {
        self.process = Some(Process::start(&self.program, &self.machine.arguments(), words)?);
        self.power_at = None;
        self.console.restart();
        Ok(self.to(State::Booting))
    }

    /// Reads what the console wrote since the last time.
    fn read(&mut self) -> Result<Vec<Told>, BootError> {
        let log = &self.machine.log;
        let fail = |source| BootError::Io {
            path: log.clone(),
            source,
        };
        let file = match &mut self.log {
            Some(file) => file,
            None => {
                let mut file = File::open(log).map_err(fail)?;
                // What an earlier run wrote is none of ours.
                file.seek(SeekFrom::End(0)).map_err(fail)?;
                self.log.insert(file)
            }
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(fail)?;
        Ok(self.console.push(&bytes))
    }

    fn told(&mut self, told: Told, now: Duration) -> Option<Change> {
        Some(match told {
            Told::Kernel => {
                if self.state == State::Booting {
                    return None;
                }
                self.to(State::Booting)
            }
            Told::Login => {
                // Where first-boot units tell more, the prompt is no news.
                if self.state != State::Booting {
                    return None;
                }
                self.to(State::Login)
            }
            Told::Begin(step) => {
                if let Some(at) = self.cuts.iter().position(|cut| *cut == step) {
                    self.cuts.remove(at);
                    if let Some(process) = self.process.take() {
                        process.cut();
                    }
                    self.power_at = Some(now + CUT);
                    let mut change = self.to(State::Off);
                    change.fault = Some(format!("power-cut@{step}"));
                    return Some(change);
                }
                self.to(State::Step(step))
            }
            Told::Done(step, seconds) => {
                let mut change = self.to(State::Step(step.clone()));
                change.done = Some((step, seconds));
                change
            }
            Told::Failed(step, message) => self.to(State::Failed { step, message }),
            Told::Ready => self.to(State::Ready),
        })
    }

    /// Presses the button of a board, as far as it has one.
    fn press(&self) -> std::io::Result<()> {
        let mut control = UnixStream::connect(&self.machine.control)?;
        control.write_all(b"{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"system_powerdown\"}\n")
    }
}

/// All boards, the segment between them and the host's place in it.
#[derive(Debug)]
pub struct Lab {
    /// The boards.
    pub slots: Vec<Slot>,
    // Machines go before the wire that they are plugged into.
    gateway: Option<Process>,
    _segment: Option<Segment>,
    folder: PathBuf,
}

impl Lab {
    /// Puts the host on the segment, with the arguments of [`super::machine::gateway`]. Boards get their power with
    /// the first [`Lab::poll`]. `path` is the `PATH` that has QEMU; `folder` takes sockets and what QEMU writes.
    ///
    /// # Errors
    /// QEMU is missing or does not start.
    pub fn new(
        mut slots: Vec<Slot>,
        segment: Option<Segment>,
        gateway: Option<&[OsString]>,
        path: &std::ffi::OsStr,
        folder: &Path,
    ) -> Result<Self, BootError> {
        for slot in &mut slots {
            slot.program = find_program(slot.machine.program(), path)?;
        }
        let gateway = match gateway {
            Some(arguments) => {
                let program = slots.first().map(|slot| slot.program.clone()).unwrap_or_default();
                Some(Process::start(
                    &program,
                    arguments,
                    &folder.join("gateway.words"),
                )?)
            }
            None => None,
        };
        Ok(Self {
            slots,
            gateway,
            _segment: segment,
            folder: folder.to_owned(),
        })
    }

    /// Looks after everything; `now` is the time since the start. To be called a few times a second.
    ///
    /// # Errors
    /// An emulator fails.
    pub fn poll(&mut self, now: Duration) -> Result<Vec<Change>, BootError> {
        let mut changes = Vec::new();
        if let Some(gateway) = &mut self.gateway {
            check(gateway, "the network")?;
        }
        for slot in &mut self.slots {
            let words = self.folder.join(format!("{}.words", slot.name));
            for told in slot.read()? {
                // What was written before the power went is told no more.
                if slot.process.is_some() {
                    changes.extend(slot.told(told, now));
                }
            }
            if let Some(process) = &mut slot.process {
                let what = format!("node `{}`", slot.name);
                if check(process, &what)? {
                    slot.process = None;
                    let pressed = slot.patience.take().is_some();
                    slot.power_at = pressed.then_some(now + CUT);
                    changes.push(slot.to(if pressed { State::Off } else { State::Stopped }));
                }
            }
            if slot.buttons.first().is_some_and(|at| *at <= now) && slot.process.is_some() {
                slot.buttons.remove(0);
                slot.patience = Some(now + BUTTON);
                // A machine without a button loses its power in the end.
                let _ = slot.press();
                let mut change = slot.to(slot.state.clone());
                change.fault = Some("reboot".to_owned());
                changes.push(change);
            }
            if slot.patience.is_some_and(|at| at <= now) {
                slot.patience = None;
                if let Some(process) = slot.process.take() {
                    process.cut();
                }
                slot.power_at = Some(now + CUT);
                changes.push(slot.to(State::Off));
            }
            if slot.power_at.is_some_and(|at| at <= now) {
                changes.push(slot.power(&words)?);
            }
        }
        Ok(changes)
    }

    /// Whether all nodes have come to the end of their first boot, or with `login` to a prompt, and every fault has
    /// come.
    #[must_use]
    pub fn reached(&self, login: bool) -> bool {
        self.slots.iter().all(|slot| {
            let there = slot.console.ready() || (login && slot.console.login());
            slot.process.is_some() && there && slot.tried() && slot.patience.is_none()
        })
    }

    /// A node that switched itself off, and so will reach nothing more.
    #[must_use]
    pub fn stopped(&self) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.state == State::Stopped)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // All at once: each would be waited for otherwise.
        for process in self.slots.iter().filter_map(|slot| slot.process.as_ref()) {
            process.ask_to_end();
        }
    }
}

/// Whether a process ended by the guest's own wish; failing is an error.
fn check(process: &mut Process, what: &str) -> Result<bool, BootError> {
    let ended = process.ended().map_err(|source| BootError::Io {
        path: what.into(),
        source,
    })?;
    match ended {
        None => Ok(false),
        Some(status) if status.success() => Ok(true),
        Some(status) => Err(BootError::Ended {
            what: what.to_owned(),
            status,
            words: process.words(),
        }),
    }
}
