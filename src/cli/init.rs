//! `init`: a directory for a new cluster, from a set, with what only the user knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::args;
use super::context::Context;
use super::message::{self, Failure, Outcome};
use super::secrets::SECRETS_FILE;
use super::terminal::Quiet;
use crate::emit::Output;
use crate::secrets::Secret;
use crate::sets;
use crate::spec;
use crate::values::Hostname;

/// `ceil-img init`
pub fn init(context: &Context, args: &args::Init) -> Result<Outcome, Failure> {
    let Some(name) = &args.set else {
        return list(context);
    };
    let set = sets::find(name)?;
    let asks = set.asks();
    unused(args, &asks, name)?;
    let talk = !args.yes && io::stdin().is_terminal() && io::stderr().is_terminal();
    let ask = |question: &str, usual: &str| -> Result<String, Failure> {
        if talk {
            answer(question, usual)
        } else {
            Ok(usual.to_owned())
        }
    };

    let cluster = match &args.name {
        Some(name) => name.to_string(),
        None => ask("name of the cluster", name)?,
    };
    let cluster: Hostname = cluster.parse().map_err(|e| wrong("--name", &e))?;
    if cluster.as_str().contains('.') {
        return Err(Failure::new(format!(
            "--name: `{cluster}` holds a dot; a name is one label"
        )));
    }
    let domain = match &args.domain {
        Some(domain) => domain.to_string(),
        None => ask("domain", &format!("{cluster}.home.arpa"))?,
    };
    let domain: Hostname = domain.parse().map_err(|e| wrong("--domain", &e))?;
    let timezone = match &args.timezone {
        Some(zone) => zone.clone(),
        None => ask("time zone", "UTC")?,
    };
    check_timezone(&timezone)?;
    let user = match &args.user {
        Some(user) => user.clone(),
        None => ask("login name of the administrator", "ceil")?,
    };
    check_user(&user)?;
    let mut notes = Vec::new();
    let keys = match &args.ssh_key {
        Some(text) => vec![key(text)?],
        None => found_key().into_iter().collect(),
    };
    if keys.is_empty() {
        notes.push(format!(
            "there is no public key in ~/.ssh, so nobody can log in yet: put one into `ssh-keys` of user `{user}` below profiles/"
        ));
    }
    let mut values = BTreeMap::from([
        ("name".to_owned(), cluster.to_string()),
        ("domain".to_owned(), domain.to_string()),
        ("timezone".to_owned(), timezone),
        ("user".to_owned(), user),
        ("ssh_keys".to_owned(), json!(keys).to_string()),
        (
            "arch".to_owned(),
            args.arch.clone().unwrap_or_else(|| "arm64".to_owned()),
        ),
    ]);
    let mut passphrase = None;
    if asks.contains("wifi_ssid") {
        let ssid = match &args.wifi {
            Some(ssid) => ssid.clone(),
            None => ask("name of the WiFi", "home")?,
        };
        if ssid.is_empty() || ssid.len() > 32 {
            return Err(Failure::new("--wifi: the name of a WiFi has 1 to 32 bytes"));
        }
        let country = match &args.wifi_country {
            Some(country) => country.clone(),
            None => ask("country of the WiFi", "GB")?,
        };
        if country.len() != 2 || !country.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(Failure::new(format!(
                "--wifi-country: `{}` is no country: two capital letters, such as `DE`",
                country.escape_debug()
            )));
        }
        if talk {
            passphrase = hidden("passphrase of the WiFi (empty: later)")?;
        } else if args.wifi.is_none() {
            notes.push(format!(
                "the WiFi is called `{ssid}` in `{country}` until you change that in cluster.yaml"
            ));
        }
        if passphrase.is_none() {
            notes.push(format!(
                "the passphrase of the WiFi is still missing: write `wifi-home: PASSPHRASE` into {SECRETS_FILE} and `chmod 600` it"
            ));
        }
        values.insert("wifi_ssid".to_owned(), json!(ssid).to_string());
        values.insert("wifi_country".to_owned(), json!(country).to_string());
    }

    let mut files = set.render(&values)?;
    files.insert("schema/cluster.json".to_owned(), spec::cluster_schema());
    files.insert("schema/profile.json".to_owned(), spec::profile_schema());
    let dir = args
        .dir
        .clone()
        .unwrap_or_else(|| PathBuf::from(cluster.as_str()));
    write(&dir, &files, passphrase.as_ref())?;

    if context.json {
        message::json(
            &json!({"event": "init", "set": name, "dir": dir.display().to_string(),
            "files": files.keys().collect::<Vec<_>>(), "notes": notes}),
        )?;
    } else {
        for file in files.keys() {
            message::line(&dir.join(file).display().to_string())?;
        }
    }
    for note in &notes {
        context.note(note);
    }
    context.note(&format!(
        "next: `ceil-img plan --all --file {}`",
        dir.join("cluster.yaml").display()
    ));
    Ok(Outcome::Done)
}

fn list(context: &Context) -> Result<Outcome, Failure> {
    let names = sets::names();
    let width = names.iter().map(|n| n.len()).max().unwrap_or(0);
    for name in names {
        let set = sets::find(name)?;
        if context.json {
            message::json(&json!({"set": name, "description": set.description}))?;
        } else {
            message::line(&format!("{name:<width$}  {}", set.description))?;
        }
    }
    Ok(Outcome::Done)
}

/// A flag that would change nothing is a misunderstanding.
fn unused(args: &args::Init, asks: &BTreeSet<String>, set: &str) -> Result<(), Failure> {
    if args.arch.is_some() && !asks.contains("arch") {
        return Err(Failure::new(format!(
            "--arch: the set `{set}` names the systems of its nodes itself"
        )));
    }
    if args.wifi_country.is_some() && !asks.contains("wifi_ssid") {
        return Err(Failure::new(format!("--wifi: the set `{set}` has no WiFi")));
    }
    if args.wifi_country.is_some() && args.wifi.is_none() {
        return Err(Failure::new("--wifi-country goes with `--wifi SSID`"));
    }
    Ok(())
}

fn wrong(flag: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("{flag}: {error}"))
}

/// Names of the IANA data base are made of these (its file `theory.html`, section "Timezone identifiers").
fn check_timezone(zone: &str) -> Result<(), Failure> {
    let ok = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'-'))
    };
    if zone.len() < 64 && zone.starts_with(|c: char| c.is_ascii_uppercase()) && zone.split('/').all(ok) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "--timezone: `{}` is no time zone, such as `Europe/Berlin` or `UTC`",
        zone.escape_debug()
    )))
}

fn check_user(user: &str) -> Result<(), Failure> {
    let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if user.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && user.len() <= 32
        && user.bytes().all(ok)
        && user != "root"
    {
        return Ok(());
    }
    Err(Failure::new(format!(
        "--user: `{}` is no login name: up to 32 lower-case letters, digits, `-` and `_`, a letter first, and not root",
        user.escape_debug()
    )))
}

/// A key itself, or the first one of a file.
fn key(text: &str) -> Result<String, Failure> {
    if is_key(text) {
        return Ok(text.trim().to_owned());
    }
    let content = fs::read_to_string(text).map_err(|e| {
        Failure::from(e).while_doing(format!(
            "--ssh-key: `{}` is neither a public key nor a file that can be read",
            text.escape_debug()
        ))
    })?;
    first_key(&content).ok_or_else(|| {
        Failure::new(format!("--ssh-key: `{text}` holds no public key"))
            .hint("a public key stands in a file such as ~/.ssh/id_ed25519.pub")
    })
}

fn first_key(text: &str) -> Option<String> {
    text.lines().map(str::trim).find(|l| is_key(l)).map(str::to_owned)
}

/// A line of authorized_keys without options: kind, base64, and perhaps a comment.
fn is_key(text: &str) -> bool {
    let mut words = text.split_ascii_whitespace();
    let kind = words.next().unwrap_or_default();
    let known = ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];
    known.iter().any(|k| kind.starts_with(k))
        && words.next().is_some_and(|data| data.starts_with("AAAA"))
        && !text.trim().contains('\n')
}

/// The first public key of the user, by the order of file names.
fn found_key() -> Option<String> {
    let dir = PathBuf::from(std::env::var_os("HOME")?).join(".ssh");
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .ok()?
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "pub"))
        .collect();
    files.sort();
    files.iter().find_map(|f| first_key(&fs::read_to_string(f).ok()?))
}

fn answer(question: &str, usual: &str) -> Result<String, Failure> {
    write!(io::stderr(), "{question} [{usual}]: ")?;
    let line = read_line()?;
    let line = line.trim();
    Ok(if line.is_empty() { usual } else { line }.to_owned())
}

fn read_line() -> Result<String, Failure> {
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Err(Failure::new("the answers ended early").hint("`--yes` asks nothing"));
    }
    Ok(line)
}

/// Asks without showing what is typed; the terminal is as it was afterwards.
fn hidden(question: &str) -> Result<Option<Secret>, Failure> {
    write!(io::stderr(), "{question}: ")?;
    let quiet = Quiet::new()?;
    let line = read_line();
    drop(quiet);
    writeln!(io::stderr())?;
    let line = line?;
    let text = line.trim_end_matches(['\r', '\n']);
    Ok((!text.is_empty()).then(|| Secret::new(text)))
}

/// Writes all files, each complete or not at all; nothing that is there is touched.
fn write(dir: &Path, files: &BTreeMap<String, String>, passphrase: Option<&Secret>) -> Result<(), Failure> {
    let secrets = dir.join(SECRETS_FILE);
    let mut taken: Vec<&str> = files
        .keys()
        .map(String::as_str)
        .filter(|f| dir.join(f).symlink_metadata().is_ok())
        .collect();
    if passphrase.is_some() && secrets.symlink_metadata().is_ok() {
        taken.push(SECRETS_FILE);
    }
    if !taken.is_empty() {
        return Err(Failure::new(format!(
            "`{}` already has {}; nothing was written",
            dir.display(),
            spec::list_words(taken.into_iter())
        ))
        .hint("choose another directory with `--dir`"));
    }
    for (path, text) in files {
        Output::with_bytes(&dir.join(path), text.as_bytes())?.finish()?;
    }
    if let Some(value) = passphrase {
        let text = spec::with_secrets("", [("wifi-home", value)].into_iter())?;
        let part = dir.join(format!(".{SECRETS_FILE}.part"));
        let failed =
            |e: io::Error| Failure::from(e).while_doing(format!("cannot write `{}`", secrets.display()));
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&part)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&part, &secrets));
        if let Err(error) = written {
            // Nothing more can be done about a temporary file that cannot be removed.
            let _ = fs::remove_file(&part);
            return Err(failed(error));
        }
    }
    Ok(())
}
