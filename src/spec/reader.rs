//! Typed reading of a [`Value`] tree, with errors that name file, line, column and key.

use std::fmt::Display;
use std::str::FromStr;

use super::SpecError;
use super::yaml::{Kind, Mark, Value, is_bool, is_number};

/// A value and the key that leads to it.
#[derive(Debug, Clone)]
pub(crate) struct Node<'a> {
    pub path: String,
    pub value: &'a Value,
}

impl<'a> Node<'a> {
    pub fn root(value: &'a Value) -> Self {
        Self {
            path: String::new(),
            value,
        }
    }

    pub fn error(&self, message: impl Display) -> SpecError {
        SpecError::new(self.file(), self.value.mark, &self.path, &message.to_string())
    }

    /// The file of the value, as the user named it.
    pub fn file(&self) -> &'a str {
        &self.value.file
    }

    pub fn line(&self) -> u64 {
        self.value.mark.line
    }

    fn expected(&self, what: &str) -> SpecError {
        self.error(format!("expected {what}, found {}", self.value.describe()))
    }

    /// A text; numbers and booleans without quotes are refused, because YAML readers disagree about them.
    pub fn text(&self, what: &str) -> Result<&'a str, SpecError> {
        match &self.value.kind {
            Kind::Scalar { text, plain } => {
                if *plain && (self.value.is_null() || is_bool(text) || is_number(text)) {
                    let advice = if self.value.is_null() {
                        String::new()
                    } else {
                        format!("; write it in quotes: \"{text}\"")
                    };
                    return Err(self.error(format!(
                        "expected {what}, found {}{advice}",
                        self.value.describe()
                    )));
                }
                Ok(text)
            }
            _ => Err(self.expected(what)),
        }
    }

    /// Any scalar by its own spelling: `16` and `"16"` are both `16`.
    pub fn scalar(&self, what: &str) -> Result<&'a str, SpecError> {
        match &self.value.kind {
            Kind::Scalar { text, .. } if !self.value.is_null() => Ok(text),
            _ => Err(self.expected(what)),
        }
    }

    /// A checked value from any scalar.
    pub fn parse<T>(&self, what: &str) -> Result<T, SpecError>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.scalar(what)?.parse().map_err(|e| self.error(e))
    }

    /// A checked value from a text.
    pub fn parse_text<T>(&self, what: &str) -> Result<T, SpecError>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.text(what)?.parse().map_err(|e| self.error(e))
    }

    pub fn boolean(&self) -> Result<bool, SpecError> {
        match &self.value.kind {
            Kind::Scalar { text, plain: true } if is_bool(text) => Ok(text.eq_ignore_ascii_case("true")),
            _ => Err(self.expected("`true` or `false`")),
        }
    }

    pub fn list(&self, what: &str) -> Result<Vec<Self>, SpecError> {
        let Kind::List(items) = &self.value.kind else {
            return Err(self.expected(what));
        };
        Ok(items
            .iter()
            .enumerate()
            .map(|(i, value)| Self {
                path: format!("{}[{i}]", self.path),
                value,
            })
            .collect())
    }

    /// All entries of a map with free keys, and where each key stands.
    pub fn entries(&self, what: &str) -> Result<Vec<(&'a str, Self)>, SpecError> {
        let Kind::Map(entries) = &self.value.kind else {
            return Err(self.expected(what));
        };
        Ok(entries
            .iter()
            .map(|(key, value)| (key.text.as_str(), self.child(&key.text, value)))
            .collect())
    }

    /// The value of a key of a map, if it is there.
    pub fn get(&self, key: &str) -> Option<Self> {
        let Kind::Map(entries) = &self.value.kind else {
            return None;
        };
        entries
            .iter()
            .find(|(k, _)| k.text == key)
            .map(|(k, value)| self.child(&k.text, value))
    }

    fn child(&self, key: &str, value: &'a Value) -> Self {
        let path = if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        };
        Self { path, value }
    }

    /// A map whose keys are known: `known` gives each key and what it is for.
    pub fn fields(
        &self,
        what: &str,
        known: &'static [(&'static str, &'static str)],
    ) -> Result<Fields<'a>, SpecError> {
        let Kind::Map(entries) = &self.value.kind else {
            return Err(self.expected(what));
        };
        for (key, value) in entries {
            if !known.iter().any(|(name, _)| *name == key.text) {
                let names = known.iter().map(|(name, _)| *name);
                return Err(unknown_key(&self.child(&key.text, value), key.mark, names));
            }
        }
        Ok(Fields {
            node: self.clone(),
            known,
        })
    }
}

fn unknown_key(child: &Node<'_>, mark: Mark, known: impl Iterator<Item = &'static str> + Clone) -> SpecError {
    let name = child.path.rsplit('.').next().unwrap_or_default();
    let message = format!(
        "unknown key{}; the keys here are {}",
        nearest(name, known.clone()).map_or(String::new(), |n| format!(", did you mean `{n}`?")),
        list_words(known)
    );
    SpecError::new(child.file(), mark, &child.path, &message)
}

/// The word most like `name`, when one is near enough to be a slip.
pub(crate) fn nearest<'n>(name: &str, words: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let name = name.to_lowercase();
    words
        .map(|word| (strsim::damerau_levenshtein(&name, word), word))
        .min()
        .filter(|(distance, word)| *distance * 5 <= word.len().max(name.chars().count()) * 2)
        .map(|(_, word)| word)
}

/// Words in backticks, with commas.
pub(crate) fn list_words<'n>(words: impl Iterator<Item = &'n str>) -> String {
    words.map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ")
}

/// A map whose keys were checked.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    pub node: Node<'a>,
    known: &'static [(&'static str, &'static str)],
}

impl<'a> Fields<'a> {
    fn purpose(&self, key: &str) -> &'static str {
        self.known
            .iter()
            .find(|(name, _)| *name == key)
            .map_or("", |(_, purpose)| purpose)
    }

    /// The value of a key that may be left out; given without a value it is an error.
    pub fn get(&self, key: &str) -> Result<Option<Node<'a>>, SpecError> {
        let Some(child) = self.get_or_null(key) else {
            return Ok(None);
        };
        if child.value.is_null() {
            return Err(child.error(format!("the key has no value; give {}", self.purpose(key))));
        }
        Ok(Some(child))
    }

    /// As [`Fields::get`], with null allowed.
    pub fn get_or_null(&self, key: &str) -> Option<Node<'a>> {
        self.node.get(key)
    }

    /// The value of a key that must be there.
    pub fn need(&self, key: &str) -> Result<Node<'a>, SpecError> {
        self.get(key)?.ok_or_else(|| {
            self.node
                .error(format!("the key `{key}` is missing: {}", self.purpose(key)))
        })
    }
}
