//! Misfortunes that are tried on purpose.

use std::fmt;
use std::str::FromStr;

/// One misfortune.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A node gets its power this many seconds after the others.
    Late {
        /// The node.
        node: String,
        /// Seconds.
        seconds: u64,
    },
    /// The power is cut when a step of the first boot begins, once, and comes back.
    PowerCut {
        /// The node; every node when it is left out.
        node: Option<String>,
        /// The step.
        step: String,
    },
    /// A node is switched off by its button this many seconds after the start, and on again.
    Reboot {
        /// The node.
        node: String,
        /// Seconds.
        seconds: u64,
    },
    /// No way out of the nodes' network.
    NoUplink,
    /// Clocks that show this time at every start.
    Clock(String),
}

/// Why a text is no [`Fault`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no fault; write `late=NODE:SECONDS`, `power-cut@STEP`, `power-cut@NODE:STEP`, `reboot@NODE:SECONDS`, \
     `no-uplink` or `clock=2025-01-01T00:00:00`"
)]
pub struct FaultError(String);

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let bad = || FaultError(text.to_owned());
        let timed = |rest: &str| -> Result<(String, u64), FaultError> {
            let (node, seconds) = rest.split_once(':').ok_or_else(bad)?;
            let seconds = seconds.parse().map_err(|_| bad())?;
            Ok((word(node).ok_or_else(bad)?, seconds))
        };
        if text == "no-uplink" {
            return Ok(Self::NoUplink);
        }
        if let Some(rest) = text.strip_prefix("late=") {
            let (node, seconds) = timed(rest)?;
            return Ok(Self::Late { node, seconds });
        }
        if let Some(rest) = text.strip_prefix("reboot@") {
            let (node, seconds) = timed(rest)?;
            return Ok(Self::Reboot { node, seconds });
        }
        if let Some(rest) = text.strip_prefix("clock=") {
            return clock(rest).map(Self::Clock).ok_or_else(bad);
        }
        let rest = text.strip_prefix("power-cut@").ok_or_else(bad)?;
        let (node, step) = match rest.split_once(':') {
            Some((node, step)) => (Some(word(node).ok_or_else(bad)?), step),
            None => (None, rest),
        };
        let step = word(step).ok_or_else(bad)?;
        Ok(Self::PowerCut { node, step })
    }
}

fn word(text: &str) -> Option<String> {
    let fine = !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    fine.then(|| text.to_owned())
}

/// A date, or a date and a time, as QEMU takes it.
fn clock(text: &str) -> Option<String> {
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00:00"));
    let time = time.strip_suffix('Z').unwrap_or(time);
    let numbers = |text: &str, between: char, lengths: [usize; 3]| -> Option<[u32; 3]> {
        let parts: Vec<&str> = text.split(between).collect();
        let [a, b, c] = parts.try_into().ok()?;
        let digits = |t: &str, len| t.len() == len && t.bytes().all(|b| b.is_ascii_digit());
        let fine = [a, b, c].into_iter().zip(lengths).all(|(t, len)| digits(t, len));
        fine.then_some([a.parse().ok()?, b.parse().ok()?, c.parse().ok()?])
    };
    let [_, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let fine =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    fine.then(|| format!("{date}T{time}"))
}

impl Fault {
    /// The node that it names.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::Late { node, .. } | Self::Reboot { node, .. } => Some(node),
            Self::PowerCut { node, .. } => node.as_deref(),
            Self::NoUplink | Self::Clock(_) => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late { node, seconds } => write!(f, "late={node}:{seconds}"),
            Self::PowerCut { node: None, step } => write!(f, "power-cut@{step}"),
            Self::PowerCut {
                node: Some(node),
                step,
            } => write!(f, "power-cut@{node}:{step}"),
            Self::Reboot { node, seconds } => write!(f, "reboot@{node}:{seconds}"),
            Self::NoUplink => f.write_str("no-uplink"),
            Self::Clock(time) => write!(f, "clock={time}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_and_written() {
        for text in [
            "late=two:600",
            "power-cut@join",
            "power-cut@one:import-images",
            "reboot@one:90",
            "no-uplink",
            "clock=2025-01-01T00:00:00",
        ] {
            let fault: Fault = text.parse().expect(text);
            assert_eq!(fault.to_string(), text);
        }
        assert_eq!(
            "clock=2024-02-29".parse(),
            Ok(Fault::Clock("2024-02-29T00:00:00".into()))
        );
    }

    #[test]
    fn what_is_none_says_what_would_be() {
        for text in [
            "",
            "late=two",
            "late=:5",
            "late=two:soon",
            "power-cut@",
            "power-cut@one:",
            "clock=yesterday",
            "clock=2025-13-01",
            "clock=2025-01-01T00:00:00,x=y",
            "fire",
        ] {
            let error = text.parse::<Fault>().expect_err(text);
            assert!(error.to_string().contains("`late=NODE:SECONDS`"), "{error}");
        }
    }
}
