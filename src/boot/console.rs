//! What a serial console tells, line by line.

use std::collections::VecDeque;
use std::fmt;

/// What the first-boot units write before what they tell.
const MARK: &str = "ceil-first-boot: ";
/// What the kernel writes first of all.
const KERNEL: &str = "Booting Linux on physical CPU";
/// Lines that are kept for the end.
const KEPT: usize = 200;
/// A line without an end is cut here; binary noise has none.
const LONGEST: usize = 4096;

/// Where a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Without power.
    Off,
    /// Under way to a login prompt.
    Booting,
    /// At the login prompt.
    Login,
    /// In a step of its first boot.
    Step(String),
    /// A step failed; it may be tried again.
    Failed {
        /// The step.
        step: String,
        /// Why.
        message: String,
    },
    /// The first boot is done.
    Ready,
    /// It switched itself off.
    Stopped,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Booting => f.write_str("booting"),
            Self::Login => f.write_str("login"),
            Self::Step(step) => write!(f, "step {step}"),
            Self::Failed { step, message } => write!(f, "failed {step}: {message}"),
            Self::Ready => f.write_str("ready"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

/// Something that a console told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The kernel begins.
    Kernel,
    /// There is a login prompt.
    Login,
    /// A step begins.
    Begin(String),
    /// A step is done, after so many seconds by the node's own count.
    Done(String, String),
    /// A step failed.
    Failed(String, String),
    /// The first boot is done.
    Ready,
}

/// A console that is read while it is written.
#[derive(Debug, Default)]
pub struct Console {
    hostname: String,
    partial: Vec<u8>,
    lines: VecDeque<String>,
    /// Whether the prompt of this boot was seen.
    login: bool,
    ready: bool,
    last_step: Option<String>,
}

impl Console {
    /// The console of the node that calls itself `hostname`.
    #[must_use]
    pub fn new(hostname: &str) -> Self {
        Self {
            hostname: hostname.to_owned(),
            ..Self::default()
        }
    }

    /// Takes the next bytes, and gives what they tell.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Told> {
        let mut told = Vec::new();
        for byte in bytes {
            if *byte == b'\n' || self.partial.len() >= LONGEST {
                let line = clean(&self.partial);
                self.partial.clear();
                self.line(&line, &mut told);
                if self.lines.len() == KEPT {
                    self.lines.pop_front();
                }
                self.lines.push_back(line);
            }
            if *byte != b'\n' {
                self.partial.push(*byte);
            }
        }
        // A prompt waits in its line.
        let waiting = clean(&self.partial);
        self.prompt(&waiting, &mut told);
        told
    }

    fn line(&mut self, line: &str, told: &mut Vec<Told>) {
        if line.contains(KERNEL) {
            self.restart();
            told.push(Told::Kernel);
        }
        self.prompt(line, told);
        let Some((_, rest)) = line.split_once(MARK) else {
            return;
        };
        let rest = rest.trim();
        if rest == "ready" {
            self.ready = true;
            told.push(Told::Ready);
            return;
        }
        let mut words = rest.splitn(3, ' ');
        let (Some(step), Some(verb)) = (words.next(), words.next()) else {
            return;
        };
        let more = words.next().unwrap_or_default().trim().to_owned();
        let step = step.to_owned();
        told.push(match verb {
            "begin" => Told::Begin(step.clone()),
            "done" => Told::Done(step.clone(), more),
            "failed" => Told::Failed(step.clone(), more),
            _ => return,
        });
        self.last_step = Some(step);
    }

    fn prompt(&mut self, line: &str, told: &mut Vec<Told>) {
        if !self.login && line.contains(&format!("{} login:", self.hostname)) {
            self.login = true;
            told.push(Told::Login);
        }
    }

    /// Forgets what was told since the power came on.
    pub fn restart(&mut self) {
        self.login = false;
        self.ready = false;
    }

    /// Whether the login prompt was seen in this boot.
    #[must_use]
    pub const fn login(&self) -> bool {
        self.login
    }

    /// Whether the first boot was told to be done in this boot.
    #[must_use]
    pub const fn ready(&self) -> bool {
        self.ready
    }

    /// The step that was told of last, in any boot.
    #[must_use]
    pub fn last_step(&self) -> Option<&str> {
        self.last_step.as_deref()
    }

    /// The last lines that hold anything.
    #[must_use]
    pub fn tail(&self, lines: usize) -> Vec<String> {
        let partial = clean(&self.partial);
        let mut all: Vec<String> = self
            .lines
            .iter()
            .chain([&partial])
            .filter(|line| !line.trim().is_empty())
            .cloned()
            .collect();
        all.drain(..all.len().saturating_sub(lines));
        all
    }
}

/// A line without control codes: ANSI's, carriage returns, anything else that is no text.
fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.peek() {
                // A control sequence ends with a letter or `@` to `~` (ECMA-48).
                Some('[') => {
                    chars.next();
                    while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
                }
                // An operating system command ends with BEL or ESC `\`.
                Some(']') => while chars.next().is_some_and(|c| c != '\u{7}' && c != '\u{1b}') {},
                _ => {
                    chars.next();
                }
            },
            c if c.is_control() && c != '\t' => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_steps_wherever_they_stand_in_a_line() {
        let mut console = Console::new("one");
        let told = console.push(
            b"[    0.000000] Booting Linux on physical CPU 0x0000000000 [0x410fd083]\r\n\
              [   30.1] systemd[1]: ceil-first-boot: join begin\r\n\
              \x1b[0;32m  OK  \x1b[0m ceil-first-boot: join \x1b[1mdone\x1b[0m 12\r\n\
              ceil-first-boot: start failed no such file: x\n\
              ceil-first-boot: something else\nceil-first-boot: ready\n",
        );
        assert_eq!(
            told,
            [
                Told::Kernel,
                Told::Begin("join".into()),
                Told::Done("join".into(), "12".into()),
                Told::Failed("start".into(), "no such file: x".into()),
                Told::Ready,
            ]
        );
        assert!(console.ready() && !console.login());
        assert_eq!(console.last_step(), Some("start"));
    }

    #[test]
    fn a_prompt_has_no_end_of_line_and_comes_in_pieces() {
        let mut console = Console::new("one");
        assert!(
            console
                .push(b"Debian GNU/Linux 13 one ttyAMA0\n\n\x1b[?2004hon")
                .is_empty()
        );
        assert!(console.push(b"e log").is_empty());
        assert_eq!(console.push(b"in: "), [Told::Login]);
        // Told once in a boot, and again in the next one.
        assert!(console.push(b"\none login: ").is_empty());
        assert_eq!(
            console.push(b"\n[    0.000000] Booting Linux on physical CPU 0x0\none login: "),
            [Told::Kernel, Told::Login]
        );
        let mut other = Console::new("two");
        assert!(other.push(b"one login: ").is_empty());
    }

    #[test]
    fn noise_is_bounded_and_the_tail_is_text() {
        let mut console = Console::new("one");
        console.push(&[0xff; 3 * LONGEST]);
        for i in 0..2 * KEPT {
            console.push(format!("line {i}\r\n\r\n").as_bytes());
        }
        console.push(b"\x1b]0;title\x07the \x1b[31mlast\x1b[0m");
        assert_eq!(
            console.tail(2),
            [format!("line {}", 2 * KEPT - 1), "the last".to_owned()]
        );
        assert!(console.lines.len() <= KEPT);
    }
}
