//! The words of OpenSSH: what it is told, and what it says.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::{Reach, Target, plain};

/// How ssh reaches nodes.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// A file for `ssh -F` that has each node as a host; addresses and accounts are then its business.
    pub config: Option<PathBuf>,
    /// The file with the planned host keys.
    pub known_hosts: Option<PathBuf>,
    /// The port, where it is not 22.
    pub port: Option<u16>,
    /// Ask nobody for anything.
    pub batch: bool,
    /// Give the command a terminal.
    pub terminal: bool,
    /// Seconds until a connection counts as failed.
    pub patience: Option<u64>,
}

/// A path that no option of ssh can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ssh cannot be told the path `{0}`, for it has a quote, a backslash or `${{`")]
pub struct BadPath(String);

impl Access {
    /// What comes after `ssh` on the command line, up to and with the host. Host keys that were planned are checked
    /// under the name of the node, so that it does not matter which address it has.
    ///
    /// # Errors
    /// [`BadPath`].
    pub fn words(&self, target: &Target, ip: Option<IpAddr>) -> Result<Vec<OsString>, BadPath> {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(file) = &self.config {
            words.extend(["-F".into(), file.clone().into_os_string()]);
        }
        let mut option = |text: String| words.extend(["-o".into(), text.into()]);
        if self.batch {
            option("BatchMode=yes".to_owned());
        }
        if let Some(seconds) = self.patience {
            option(format!("ConnectTimeout={seconds}"));
            // A node that goes away in the middle is noticed as well.
            option("ServerAliveInterval=5".to_owned());
            option("ServerAliveCountMax=3".to_owned());
        }
        if let Some(file) = self.known_hosts.as_ref().filter(|_| target.key_known) {
            option(format!("HostKeyAlias={}", target.node));
            option(format!("UserKnownHostsFile={}", quoted(file)?));
            for fixed in [
                "GlobalKnownHostsFile=/dev/null",
                "StrictHostKeyChecking=yes",
                "CheckHostIP=no",
                "UpdateHostKeys=no",
            ] {
                option(fixed.to_owned());
            }
        }
        if self.terminal {
            words.push("-t".into());
        }
        if let Some(port) = self.port {
            words.extend(["-p".into(), port.to_string().into()]);
        }
        if let Some(user) = target.user.as_ref().filter(|_| self.config.is_none()) {
            words.extend(["-l".into(), user.into()]);
        }
        words.push("--".into());
        words.push(match (&self.config, ip) {
            (Some(_), _) => target.node.clone().into(),
            (None, Some(ip)) => ip.to_string().into(),
            (None, None) => target.hostname.clone().into(),
        });
        Ok(words)
    }
}

/// A path as the value of an option: ssh splits it at blanks and replaces what begins with `%` or `${`.
fn quoted(path: &Path) -> Result<String, BadPath> {
    let text = path.to_str().unwrap_or("\\");
    if text.contains(['"', '\'', '\\', '\n']) || text.contains("${") {
        return Err(BadPath(path.display().to_string()));
    }
    Ok(format!("\"{}\"", text.replace('%', "%%")))
}

/// Where a file of the user leads to, from what `ssh -G` prints: address and port.
#[must_use]
pub fn configured(printed: &str) -> Option<String> {
    let value = |key: &str| printed.lines().find_map(|line| line.strip_prefix(key));
    let host = plain(value("hostname ")?);
    match value("port ").unwrap_or("22") {
        "22" => Some(host),
        port => Some(format!("{host}:{}", plain(port))),
    }
}

/// A line of the file with the planned host keys: the key of a node under its name.
#[must_use]
pub fn known_hosts_line(node: &str, public: &str) -> String {
    format!("{node} {public}\n")
}

/// A command as one word for ssh, which hands it to the shell of the account: that one gives the program the words as
/// they are here.
///
/// # Errors
/// A word has a NUL.
pub fn remote_command<S: AsRef<str>>(words: &[S]) -> Result<String, shlex::QuoteError> {
    shlex::try_join(words.iter().map(AsRef::as_ref))
}

/// Sentences of OpenSSH's client, in the order in which they count.
const SENTENCES: [(&str, Reach); 11] = [
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", Reach::WrongHostKey),
    ("Host key verification failed", Reach::UnknownHostKey),
    ("Permission denied", Reach::Denied),
    ("Too many authentication failures", Reach::Denied),
    ("Connection refused", Reach::Refused),
    ("No route to host", Reach::NoRoute),
    ("Network is unreachable", Reach::NoRoute),
    ("Host is down", Reach::NoRoute),
    ("timed out", Reach::Timeout),
    ("Could not resolve hostname", Reach::NoAddress),
    ("not responding", Reach::Timeout),
];

/// How far ssh got, from its exit code and what it said. A command that fails with 255 itself cannot be told from ssh,
/// unless ssh says something.
#[must_use]
pub fn reach(code: Option<i32>, stderr: &str, target: &Target) -> Reach {
    if code != Some(255) {
        return Reach::Ok;
    }
    for (sentence, reach) in SENTENCES {
        if stderr.contains(sentence) {
            // A host without a key of the planned kind is not the node either.
            return match reach {
                Reach::UnknownHostKey if target.key_known => Reach::WrongHostKey,
                reach => reach,
            };
        }
    }
    let last = stderr.lines().rfind(|line| !line.trim().is_empty());
    Reach::Failed(last.map_or_else(|| "ssh ended with 255".to_owned(), plain))
}

/// Whether ssh says that the other side went away after the login.
#[must_use]
pub fn connection_was_cut(stderr: &str) -> bool {
    let after_login = |line: &str| {
        line.ends_with("closed by remote host.")
            || line.starts_with("client_loop:")
            || line.contains("not responding")
            || (line.starts_with("Read from remote host") && line.contains("reset"))
    };
    stderr.lines().map(str::trim).any(after_login)
}

/// Whether a command ends its node, and with it the connection.
#[must_use]
pub fn stops_the_node<S: AsRef<str>>(words: &[S]) -> bool {
    let mut words = words
        .iter()
        .map(|word| word.as_ref().rsplit('/').next().unwrap_or_default())
        .skip_while(|word| *word == "sudo" || word.starts_with('-'));
    let first = words.next().unwrap_or_default();
    let ends = |word: &str| matches!(word, "reboot" | "poweroff" | "halt" | "shutdown");
    ends(first) || (first == "systemctl" && words.any(ends))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn target(key_known: bool) -> Target {
        Target {
            node: "one".to_owned(),
            hostname: "host-one".to_owned(),
            domain: None,
            planned: None,
            macs: Vec::new(),
            user: Some("admin".to_owned()),
            key_known,
        }
    }

    fn text(words: Vec<OsString>) -> String {
        let words: Vec<String> = words.into_iter().map(|w| w.into_string().unwrap()).collect();
        words.join(" ")
    }

    #[test]
    fn f250_what_ssh_is_told() {
        let access = Access {
            known_hosts: Some("/c a/k%h".into()),
            batch: true,
            patience: Some(5),
            ..Access::default()
        };
        let ip = Some("10.11.0.101".parse().unwrap());
        assert_eq!(
            text(access.words(&target(true), ip).unwrap()),
            "-o BatchMode=yes -o ConnectTimeout=5 -o ServerAliveInterval=5 -o ServerAliveCountMax=3 \
             -o HostKeyAlias=one -o UserKnownHostsFile=\"/c a/k%%h\" -o GlobalKnownHostsFile=/dev/null \
             -o StrictHostKeyChecking=yes -o CheckHostIP=no -o UpdateHostKeys=no -l admin -- 10.11.0.101"
        );
        // Without a planned key, ssh knows whom it trusts; without an address, the name is all there is.
        let plain = Access {
            known_hosts: Some("k".into()),
            port: Some(2222),
            terminal: true,
            ..Access::default()
        };
        assert_eq!(
            text(plain.words(&target(false), None).unwrap()),
            "-t -p 2222 -l admin -- host-one"
        );
        // A file of the user says where and as whom, the planned key still counts.
        let file = Access {
            config: Some("boot.conf".into()),
            known_hosts: Some("k".into()),
            ..Access::default()
        };
        let words = text(file.words(&target(true), ip).unwrap());
        assert!(
            words.starts_with("-F boot.conf -o HostKeyAlias=one -o UserKnownHostsFile=\"k\" "),
            "{words}"
        );
        assert!(words.ends_with(" -- one") && !words.contains("-l "), "{words}");
        for bad in ["a\"b", "a\\b", "${HOME}/k"] {
            let access = Access {
                known_hosts: Some(bad.into()),
                ..Access::default()
            };
            assert!(access.words(&target(true), None).is_err(), "{bad}");
        }
    }

    #[test]
    fn f161_the_address_of_a_file() {
        let text = "host one\nuser admin\nhostname 127.0.0.1\nport 2222\n";
        assert_eq!(configured(text).as_deref(), Some("127.0.0.1:2222"));
        assert_eq!(
            configured("hostname 10.0.0.1\nport 22\n").as_deref(),
            Some("10.0.0.1")
        );
        assert_eq!(configured("usage: ssh\n"), None);
    }

    /// The judge is a shell: it prints the words that a program is given.
    #[test]
    fn f250_words_arrive_as_given() {
        let words = [
            "printf",
            "<%s>",
            "",
            " a b ",
            "it's",
            "\"q\"",
            "$HOME",
            "`id`",
            "a;b|c&d>e",
            "*",
            "~",
            "\\",
            "é",
            "a\nb",
            "!x",
            "#",
            "-n",
            "a=b",
        ];
        let command = remote_command(&words).unwrap();
        let out = Command::new("/bin/sh").arg("-c").arg(&command).output().unwrap();
        let expected: String = words[2..].iter().map(|w| format!("<{w}>")).collect();
        assert_eq!(String::from_utf8(out.stdout).unwrap(), expected, "{command}");
        assert!(remote_command(&["a\0b"]).is_err());
        assert_eq!(remote_command(&["df", "-h"]).unwrap(), "df -h");
    }

    #[test]
    fn f249_what_ssh_says() {
        for (code, stderr, words) in [
            (0, "", "ok"),
            (3, "Connection refused", "ok"),
            (
                255,
                "ssh: connect to host 10.11.0.1 port 22: Connection refused\n",
                "refused",
            ),
            (
                255,
                "ssh: connect to host 10.11.0.1 port 22: No route to host",
                "no route",
            ),
            (
                255,
                "ssh: connect to host 10.11.0.1 port 22: Connection timed out",
                "timeout",
            ),
            (
                255,
                "Connection timed out during banner exchange\r\nConnection to 10.0.0.1 port 22 timed out",
                "timeout",
            ),
            (
                255,
                "ssh: Could not resolve hostname one: Name or service not known",
                "no address",
            ),
            (
                255,
                "admin@10.11.0.1: Permission denied (publickey).",
                "login denied",
            ),
            (
                255,
                "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.",
                "wrong host key",
            ),
            (
                255,
                "No RSA host key is known for one and you have requested strict checking.\nHost key verification failed.",
                "wrong host key",
            ),
            (255, "", "failed: ssh ended with 255"),
            (
                255,
                "a\nBad owner or permissions\n",
                "failed: Bad owner or permissions",
            ),
        ] {
            assert_eq!(
                reach(Some(code), stderr, &target(true)).to_string(),
                words,
                "{stderr}"
            );
        }
        let unknown = reach(Some(255), "Host key verification failed.", &target(false));
        assert_eq!(unknown, Reach::UnknownHostKey);
    }

    #[test]
    fn f250_a_reboot_cuts_the_connection() {
        for words in [
            &["reboot"][..],
            &["/sbin/poweroff"],
            &["sudo", "-n", "reboot"],
            &["systemctl", "--no-block", "reboot"],
            &["shutdown", "-r", "now"],
        ] {
            assert!(stops_the_node(words), "{words:?}");
        }
        for words in [
            &["uptime"][..],
            &["echo", "reboot"],
            &["systemctl", "status"],
            &[],
        ] {
            assert!(!stops_the_node(words), "{words:?}");
        }
        for (stderr, cut) in [
            ("Connection to 10.11.0.101 closed by remote host.\r\n", true),
            ("client_loop: send disconnect: Broken pipe\n", true),
            ("Timeout, server 10.11.0.101 not responding.", true),
            (
                "ssh: connect to host 10.11.0.101 port 22: Connection refused",
                false,
            ),
            ("Connection closed by 10.11.0.101 port 22", false),
            ("", false),
        ] {
            assert_eq!(connection_was_cut(stderr), cut, "{stderr}");
        }
    }
}
