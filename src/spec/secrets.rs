use std::collections::BTreeMap;

use crate::secrets::{Secret, Source};

use super::edits::host_path;
use super::reader::Node;
use super::yaml::Kind;
use super::{SpecError, yaml};

/// What a new file of secrets begins with.
const HEADER: &str = "\
# The secrets of this cluster: keys, tokens and passwords, each made by ceil-img when it was first needed.
# Whoever has this file owns the cluster: keep it, keep a copy, and keep it out of version control.
#
# A value may come from elsewhere:
#   wifi: {env: HOME_WIFI}                      # a variable of the environment
#   wifi: {file: ../wifi.psk}                   # a file, relative to this one
#   wifi: {command: [pass, show, home/wifi]}    # what a program prints
";

/// Reads a file of secrets. Paths of the host are relative to the folder of the file. No message ever shows a
/// value.
///
/// # Errors
/// [`SpecError`] at the first mistake.
pub fn parse_secrets(file: &str, text: &str) -> Result<BTreeMap<String, Source>, SpecError> {
    // A file of comments alone is one without secrets.
    if text.lines().all(|l| l.trim().is_empty() || l.starts_with('#')) {
        return Ok(BTreeMap::new());
    }
    let value = yaml::parse(file, text).map_err(|error| SpecError {
        // What a parser of YAML says may quote the text.
        message: "this is not YAML: expected lines such as `name: value`".to_owned(),
        ..error
    })?;
    let root = Node::root(&value);
    // The usual message of a wrong kind of value would show the value.
    if !matches!(value.kind, Kind::Map(_)) {
        return Err(root.error("expected a map of names and secrets, such as `name: value`"));
    }
    let mut sources = BTreeMap::new();
    for (name, node) in root.entries("a map of names and secrets")? {
        let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(ok) {
            return Err(node.error("a name is made of letters, digits, `-`, `_` and `.`"));
        }
        sources.insert(name.to_owned(), source(&node)?);
    }
    Ok(sources)
}

fn source(node: &Node<'_>) -> Result<Source, SpecError> {
    match &node.value.kind {
        Kind::Scalar { text, .. } if !node.value.is_null() => Ok(Source::Value(Secret::new(text.as_str()))),
        Kind::Map(_) => {
            let fields = node.fields(
                "`{env: …}`, `{file: …}` or `{command: […]}`",
                &[
                    ("env", "the name of a variable of the environment"),
                    ("file", "a file with the value"),
                    ("command", "a program and its arguments, as a list"),
                ],
            )?;
            let given = (fields.get("env")?, fields.get("file")?, fields.get("command")?);
            match given {
                (Some(n), None, None) => Ok(Source::Environment(n.text("a name")?.to_owned())),
                (None, Some(n), None) => Ok(Source::File(host_path(&n)?)),
                (None, None, Some(n)) => {
                    let words: Vec<String> = n
                        .list("a list such as `[pass, show, wifi]`")?
                        .iter()
                        .map(|word| word.scalar("a word").map(str::to_owned))
                        .collect::<Result<_, _>>()?;
                    if words.first().is_none_or(String::is_empty) {
                        return Err(n.error("the list is empty; it begins with the program"));
                    }
                    Ok(Source::Command(words))
                }
                _ => Err(node.error("give one of `env`, `file` and `command`")),
            }
        }
        _ => Err(node.error("a secret is a text, or a map with `env`, `file` or `command`")),
    }
}

/// The text of a file of secrets with new values: those of names that are there are replaced, the others follow at the
/// end; everything else, comments included, stays as it is.
///
/// # Errors
/// [`std::fmt::Error`] when a value cannot be written as YAML.
pub fn with_secrets<'a>(
    text: &str,
    values: impl Iterator<Item = (&'a str, &'a Secret)>,
) -> Result<String, std::fmt::Error> {
    let mut lines: Vec<String> = if text.trim().is_empty() { HEADER } else { text }
        .lines()
        .map(str::to_owned)
        .collect();
    for (name, value) in values {
        let entry = serde_saphyr::to_string(&BTreeMap::from([(name, value.reveal())]))
            .map_err(|_| std::fmt::Error)?;
        let entry = entry.lines().map(str::to_owned);
        let key = format!("{name}:");
        match lines.iter().position(|line| line.starts_with(&key)) {
            Some(start) => {
                // What belongs to a key of the outermost map is indented.
                let more = lines[start + 1..]
                    .iter()
                    .take_while(|l| l.starts_with([' ', '\t']))
                    .count();
                lines.splice(start..=start + more, entry);
            }
            None => lines.extend(entry),
        }
    }
    Ok(lines.join("\n") + "\n")
}
