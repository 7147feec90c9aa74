//! What a node says of itself.

use super::{Power, Target, plain};

/// The script that a node runs by `sh -s`; its answer is read by [`Facts::parse`].
pub const PROBE: &str = include_str!("probe.sh");

/// How far the first boot of a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// Complete.
    Yes,
    /// These steps failed last, with what they said.
    Failed(Vec<(String, String)>),
    /// This step runs.
    Step(String),
    /// No step runs; the last one that is done, where there is one.
    After(Option<String>),
    /// The node keeps no record of a first boot.
    NoRecord,
}

impl Ready {
    /// For people: `ready`, `step images`, `failed cluster: no route to 10.11.0.101`.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Yes => "ready".to_owned(),
            Self::Failed(steps) => {
                let told: Vec<String> = steps
                    .iter()
                    .map(|(step, why)| format!("failed {step}: {why}"))
                    .collect();
                told.join("; ")
            }
            Self::Step(step) => format!("step {step}"),
            Self::After(Some(step)) => format!("not ready, after {step}"),
            Self::After(None) => "not ready".to_owned(),
            Self::NoRecord => "no record".to_owned(),
        }
    }
}

/// The answer of a node to the probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its host name.
    pub hostname: String,
    /// Its first boot.
    pub ready: Ready,
    /// What the kubelet says of its health: `ok` where it is; `None` where there is no kubelet.
    pub kubelet: Option<String>,
    /// Version of k3s or of the kubelet, such as `v1.36.4+k3s1`.
    pub version: Option<String>,
    /// Flags of the supply; `None` where the firmware cannot be asked.
    pub power: Option<Power>,
    /// Seconds since the boot.
    pub uptime: Option<u64>,
}

impl Facts {
    /// Reads the lines that [`PROBE`] prints; `None` when the text has no such lines. What comes before them is left
    /// out, as are keys that are not known.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let lines: Vec<(&str, &str)> = text
            .lines()
            .skip_while(|line| line.trim() != "probe=1")
            .filter_map(|line| line.split_once('='))
            .collect();
        let values = |key: &str| -> Vec<String> {
            lines
                .iter()
                .filter(|(k, v)| *k == key && !v.is_empty())
                .map(|(_, v)| plain(v))
                .collect()
        };
        let one = |key: &str| values(key).pop();
        if lines.is_empty() {
            return None;
        }
        let done = values("done");
        let failed: Vec<(String, String)> = values("failed")
            .iter()
            .filter_map(|text| text.split_once(':'))
            .map(|(step, why)| (step.to_owned(), why.trim().to_owned()))
            .filter(|(step, _)| !done.contains(step))
            .collect();
        let ready = match (one("ready").as_deref(), one("step")) {
            (Some("yes"), _) => Ready::Yes,
            (None, _) => Ready::NoRecord,
            _ if !failed.is_empty() => Ready::Failed(failed),
            (_, Some(step)) => Ready::Step(step),
            _ => Ready::After(done.last().cloned()),
        };
        Some(Self {
            hostname: one("hostname").unwrap_or_default(),
            ready,
            kubelet: one("kubelet"),
            version: one("version").and_then(|text| version(&text)),
            power: one("throttled").and_then(|text| Power::parse(&text)),
            uptime: one("uptime").and_then(|text| text.parse().ok()),
        })
    }

    /// Whether the answer is that of another machine.
    #[must_use]
    pub fn is_of_another(&self, target: &Target) -> bool {
        let short = self.hostname.split('.').next().unwrap_or_default();
        !short.is_empty() && !short.eq_ignore_ascii_case(target.short())
    }
}

/// The version in `k3s version v1.36.4+k3s1 (c2e1a2b3)` and in `Kubernetes v1.36.4`.
fn version(text: &str) -> Option<String> {
    let is_version = |word: &&str| {
        word.strip_prefix('v')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    text.split_whitespace().find(is_version).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(lines: &str) -> String {
        let text = format!("Welcome\nready=no\nprobe=1\nhostname=one\n{lines}");
        Facts::parse(&text).unwrap().ready.words()
    }

    /// F249: what a node says becomes what is shown.
    #[test]
    fn f249_the_answer_of_a_node() {
        let facts = Facts::parse(
            "Last login: today\nprobe=1\nhostname=one\nready=yes\ndone=modules\ndone=cluster\n\
             version=k3s version v1.36.4+k3s1 (0a1b2c3d)\nkubelet=ok\nthrottled=throttled=0x50000\nuptime=7265\nnew=1\n",
        )
        .unwrap();
        assert_eq!(
            facts,
            Facts {
                hostname: "one".to_owned(),
                ready: Ready::Yes,
                kubelet: Some("ok".to_owned()),
                version: Some("v1.36.4+k3s1".to_owned()),
                power: Some(Power(0x50000)),
                uptime: Some(7265),
            }
        );
        let bare = Facts::parse("probe=1\nhostname=nas\nthrottled=\nuptime=x\n").unwrap();
        assert_eq!(
            (bare.ready, bare.kubelet, bare.version, bare.power, bare.uptime),
            (Ready::NoRecord, None, None, None, None)
        );
        assert_eq!(version("Kubernetes v1.36.4").as_deref(), Some("v1.36.4"));
        for text in [
            "",
            "probe=2\nready=yes\n",
            "This account is currently not available.\n",
        ] {
            assert_eq!(Facts::parse(text), None, "{text}");
        }
    }

    #[test]
    fn f249_steps_of_the_first_boot() {
        for (lines, words) in [
            ("ready=yes\n", "ready"),
            ("ready=no\n", "not ready"),
            ("ready=no\ndone=modules\ndone=time\n", "not ready, after time"),
            ("ready=no\ndone=modules\nstep=images\n", "step images"),
            (
                "ready=no\ndone=modules\nfailed=cluster: no route to 10.11.0.101: retry\nstep=cluster\n",
                "failed cluster: no route to 10.11.0.101: retry",
            ),
            // What was tried again with success is no failure, and nothing reaches the terminal that it acts on.
            (
                "ready=no\ndone=cluster\nfailed=cluster: once\n",
                "not ready, after cluster",
            ),
            ("ready=no\nfailed=disks: \u{1b}[2Jgone\n", "failed disks: [2Jgone"),
            ("", "no record"),
        ] {
            assert_eq!(ready(lines), words, "{lines}");
        }
    }
}
