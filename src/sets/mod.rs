//! Sets of profiles that are compiled in: whole directories, each a cluster of a kind, that `init` writes.
//!
//! A set is a folder of `profiles/sets`. Its `set.yaml` says in a sentence what it is, which set it starts from, and
//! gives values to names of its own; its files replace those of the set below. In every text `[[ name ]]` stands for a
//! value, a form that neither node templates nor YAML use.
//!
//! This room knows texts. It must not read files of the host, and knows no node, image or network.

use std::collections::{BTreeMap, BTreeSet};

use include_dir::{Dir, include_dir};

use crate::spec::yaml::{self, Kind, Value};
use crate::spec::{list_words, nearest};

static SETS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/profiles/sets");

/// What says what a set is; it is not written by `init`.
const HEAD: &str = "set.yaml";
/// Sets that one may rest on, one on the other.
const MAX_DEPTH: usize = 8;

/// Why a set cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// There is none of this name.
    #[error("there is no set `{name}`{advice}")]
    Unknown {
        /// The name.
        name: String,
        /// The nearest one, and those that there are.
        advice: String,
    },
    /// A file of the set is wrong.
    #[error("set `{set}`: {why}")]
    Wrong {
        /// The set.
        set: String,
        /// What is wrong.
        why: String,
    },
}

/// A set with everything that it takes from those below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// One sentence about it.
    pub description: String,
    values: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
}

/// Names of all sets, sorted.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = SETS
        .dirs()
        .filter_map(|d| d.path().to_str())
        .filter(|name| !name.starts_with('_'))
        .collect();
    names.sort_unstable();
    names
}

/// The set of this name.
///
/// # Errors
/// [`SetError`]: no such set; a compiled-in file that is wrong, which the tests of every set rule out.
pub fn find(name: &str) -> Result<Set, SetError> {
    if !names().contains(&name) {
        let hint = nearest(name, names().into_iter());
        return Err(SetError::Unknown {
            name: name.to_owned(),
            advice: format!(
                "{}; the sets are {}",
                hint.map_or(String::new(), |n| format!(", did you mean `{n}`?")),
                list_words(names().into_iter())
            ),
        });
    }
    let wrong = |why: String| SetError::Wrong {
        set: name.to_owned(),
        why,
    };
    let mut set = Set {
        name: name.to_owned(),
        description: String::new(),
        values: BTreeMap::new(),
        files: BTreeMap::new(),
    };
    let mut below = Some(name.to_owned());
    for _ in 0..MAX_DEPTH {
        let Some(layer) = below.take() else {
            return Ok(set);
        };
        let dir = SETS
            .get_dir(&layer)
            .ok_or_else(|| wrong(format!("`{layer}` is not there")))?;
        let mut files = BTreeMap::new();
        collect(dir, &layer, &mut files).map_err(wrong)?;
        let head = files
            .remove(HEAD)
            .ok_or_else(|| wrong(format!("`{layer}` has no {HEAD}")))?;
        let head = yaml::parse(&format!("{layer}/{HEAD}"), &head).map_err(|e| wrong(e.to_string()))?;
        for (key, value) in entries(&head) {
            match (key, &value.kind) {
                ("description", Kind::Scalar { text, .. }) => {
                    if layer == name {
                        set.description.clone_from(text);
                    }
                }
                ("from", Kind::Scalar { text, .. }) => below = Some(text.clone()),
                ("values", Kind::Map(_)) => {
                    for (key, value) in entries(value) {
                        let Kind::Scalar { text, .. } = &value.kind else {
                            return Err(wrong(format!("the value of `{key}` is no text")));
                        };
                        set.values.entry(key.to_owned()).or_insert_with(|| text.clone());
                    }
                }
                _ => return Err(wrong(format!("`{key}` is unknown or of a wrong kind"))),
            }
        }
        for (path, text) in files {
            set.files.entry(path).or_insert(text);
        }
    }
    Err(wrong("it rests on itself".to_owned()))
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let list: &[(yaml::Key, Value)] = match &value.kind {
        Kind::Map(entries) => entries,
        _ => &[],
    };
    list.iter().map(|(k, v)| (k.text.as_str(), v))
}

/// All files below a folder, by their paths in it.
fn collect(dir: &Dir<'_>, root: &str, into: &mut BTreeMap<String, String>) -> Result<(), String> {
    for file in dir.files() {
        let path = file.path().strip_prefix(root).unwrap_or(file.path());
        match (path.to_str(), file.contents_utf8()) {
            (Some(path), Some(text)) => into.insert(path.to_owned(), text.to_owned()),
            _ => return Err(format!("`{}` is no text", path.display())),
        };
    }
    for dir in dir.dirs() {
        collect(dir, root, into)?;
    }
    Ok(())
}

impl Set {
    /// Names that the set leaves to its user.
    #[must_use]
    pub fn asks(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        // What no file uses, the values of a set above may have made unneeded.
        let mut pending: Vec<&str> = self.files.values().map(String::as_str).collect();
        while let Some(text) = pending.pop() {
            for part in parts(text) {
                if let Part::Name(name) = part {
                    match self.values.get(name) {
                        Some(text) => pending.push(text),
                        None => {
                            names.insert(name.to_owned());
                        }
                    }
                }
            }
        }
        names
    }

    /// The files with these values, by their paths, sorted.
    ///
    /// # Errors
    /// [`SetError::Wrong`] for a name without a value.
    pub fn render(&self, values: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, SetError> {
        self.files
            .iter()
            .map(|(path, text)| Ok((path.clone(), self.fill(text, values, 0)?)))
            .collect()
    }

    fn fill(&self, text: &str, values: &BTreeMap<String, String>, depth: usize) -> Result<String, SetError> {
        let mut out = String::with_capacity(text.len());
        for part in parts(text) {
            match part {
                Part::Text(text) => out.push_str(text),
                // What the user gives is taken as it is, whatever it holds.
                Part::Name(name) => match (values.get(name), self.values.get(name)) {
                    (Some(value), _) => out.push_str(value),
                    (None, Some(own)) if depth < MAX_DEPTH => {
                        out.push_str(&self.fill(own, values, depth + 1)?);
                    }
                    _ => {
                        return Err(SetError::Wrong {
                            set: self.name.clone(),
                            why: format!("`{name}` has no value"),
                        });
                    }
                },
            }
        }
        Ok(out)
    }
}

enum Part<'t> {
    Text(&'t str),
    Name(&'t str),
}

/// A text in pieces: what stands for itself, and the names between `[[ ` and ` ]]`.
fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("[[ ") {
        match after.split_once(" ]]") {
            Some((name, more))
                if name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) =>
            {
                parts.push(Part::Text(before));
                parts.push(Part::Name(name));
                rest = more;
            }
            _ => {
                // Brackets of a shell, say.
                let end = before.len() + 3;
                parts.push(Part::Text(&rest[..end]));
                rest = after;
            }
        }
    }
    parts.push(Part::Text(rest));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_between_brackets_are_filled_once() {
        let set = Set {
            name: "s".to_owned(),
            description: String::new(),
            values: BTreeMap::from([("own".to_owned(), "<[[ a ]]>".to_owned())]),
            files: BTreeMap::from([(
                "f".to_owned(),
                "[[[ a ]]] [[ own ]] {{ n }} [[ -f x ]] [[\n".to_owned(),
            )]),
        };
        let values = BTreeMap::from([("a".to_owned(), "[[ own ]]".to_owned())]);
        let files = set.render(&values).expect("rendered");
        assert_eq!(files["f"], "[[[ own ]]] <[[ own ]]> {{ n }} [[ -f x ]] [[\n");
        assert_eq!(set.asks(), BTreeSet::from(["a".to_owned()]));
        assert!(set.render(&BTreeMap::new()).is_err());
    }

    #[test]
    fn every_set_is_whole() {
        assert_eq!(names().len(), 21);
        for name in names() {
            let set = find(name).expect(name);
            assert!(!set.description.is_empty(), "{name}");
            for file in ["cluster.yaml", "README.md", ".gitignore"] {
                assert!(set.files.contains_key(file), "{name} has no {file}");
            }
            let known = [
                "name",
                "domain",
                "timezone",
                "user",
                "ssh_keys",
                "arch",
                "wifi_ssid",
                "wifi_country",
            ];
            for ask in set.asks() {
                assert!(known.contains(&ask.as_str()), "{name} asks for {ask}");
            }
        }
    }

    #[test]
    fn a_wrong_name_has_a_nearest() {
        let error = find("cei1").expect_err("unknown").to_string();
        assert!(
            error.starts_with("there is no set `cei1`, did you mean `ceil`?; the sets are "),
            "{error}"
        );
        assert!(find("_base").is_err());
    }
}
