//! YAML text as a tree of values that know where they stand. The one place that names the YAML crate.
//!
//! The tree is built from parser events rather than through serde: an error can then name the exact line and
//! column, and a scalar keeps its text and its quoting, so that `mode: 0644` is refused instead of read as 644.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::SpecError;

/// Values that one file may hold, aliases counted as often as they are used.
const MAX_VALUES: usize = 100_000;

/// A place in a text, both 1-based.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mark {
    /// Line.
    pub line: u64,
    /// Column in characters.
    pub column: u64,
}

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// What it is.
    pub kind: Kind,
    /// Where it begins.
    pub mark: Mark,
    /// The file it is from, as the user named it: values of several files make one tree once profiles are merged.
    pub file: Arc<str>,
}

/// The shapes of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A scalar.
    Scalar {
        /// Text after unescaping.
        text: String,
        /// Written without quotes, so that `null`, `true` and numbers mean what they say.
        plain: bool,
    },
    /// A sequence.
    List(Vec<Value>),
    /// A mapping in the order of the file; keys are unique.
    Map(Vec<(Key, Value)>),
}

/// A key of a mapping and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The text.
    pub text: String,
    /// Where.
    pub mark: Mark,
}

impl Value {
    /// Whether this is YAML's null: nothing, `~` or `null` without quotes.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// What the value is, for messages: `a list`, `the number 12`.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a map".to_owned(),
            Kind::Scalar { .. } if self.is_null() => "nothing".to_owned(),
            Kind::Scalar { text, plain: true } if is_bool(text) => format!("`{text}`"),
            Kind::Scalar { text, plain: true } if is_number(text) => format!("the number `{text}`"),
            Kind::Scalar { text, .. } => format!("the text `{}`", shorten(text)),
        }
    }
}

/// `true` and `false` as YAML 1.2 writes them.
#[must_use]
pub fn is_bool(text: &str) -> bool {
    matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE")
}

/// A number in any of YAML's forms, including the octal form with a leading zero that YAML 1.1 had.
#[must_use]
pub fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let radix = |prefix: &str, ok: fn(&u8) -> bool| {
        unsigned
            .strip_prefix(prefix)
            .is_some_and(|digits| !digits.is_empty() && digits.as_bytes().iter().all(ok))
    };
    if radix("0x", u8::is_ascii_hexdigit) || radix("0o", |b| (b'0'..=b'7').contains(b)) {
        return true;
    }
    unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.bytes().any(|b| b.is_ascii_digit())
        && unsigned.parse::<f64>().is_ok()
}

fn shorten(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() > 60 || line.len() < text.trim_end().len() {
        format!("{}…", line.chars().take(60).collect::<String>())
    } else {
        line.to_owned()
    }
}

/// Reads one document. An empty text is a null.
///
/// # Errors
/// [`SpecError`] with line and column: not YAML, a key twice, more than one document, a tag, too many values.
pub fn parse(file: &str, text: &str) -> Result<Value, SpecError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder {
        file: file.into(),
        parser: Parser::new_from_str(text),
        anchors: BTreeMap::new(),
        values: 0,
    };
    builder.document()
}

struct Builder<P> {
    file: Arc<str>,
    parser: P,
    anchors: BTreeMap<usize, Value>,
    values: usize,
}

impl<'a, P: Iterator<Item = Result<(Event<'a>, Span), ScanError>>> Builder<P> {
    fn document(&mut self) -> Result<Value, SpecError> {
        let mut root = None;
        while let Some((event, mark)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd | Event::StreamEnd => {}
                _ if root.is_some() => {
                    return Err(
                        self.error(mark, "a second document begins here; one file holds one document")
                    );
                }
                event => root = Some(self.value(event, mark)?),
            }
        }
        Ok(root.unwrap_or(Value {
            kind: Kind::Scalar {
                text: String::new(),
                plain: true,
            },
            mark: Mark { line: 1, column: 1 },
            file: Arc::clone(&self.file),
        }))
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Mark)>, SpecError> {
        loop {
            match self.parser.next() {
                None => return Ok(None),
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok((event, span))) => return Ok(Some((event, mark(&span.start)))),
                Some(Err(e)) => {
                    let text = format!("this is not YAML: {}", e.kind());
                    return Err(self.error(mark(e.marker()), &text));
                }
            }
        }
    }

    fn error(&self, mark: Mark, message: &str) -> SpecError {
        SpecError::new(&self.file, mark, "", message)
    }

    fn count(&mut self, more: usize, mark: Mark) -> Result<(), SpecError> {
        self.values = self.values.saturating_add(more);
        if self.values > MAX_VALUES {
            return Err(self.error(mark, &format!("the file holds more than {MAX_VALUES} values")));
        }
        Ok(())
    }

    /// The value that begins with `event`. Nesting is bounded by the parser (255 levels).
    fn value(&mut self, event: Event<'a>, mark: Mark) -> Result<Value, SpecError> {
        self.count(1, mark)?;
        let (kind, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let quoted = self.check_tag(tag.as_deref(), mark)?;
                let plain = style == ScalarStyle::Plain && !quoted;
                (
                    Kind::Scalar {
                        text: text.into_owned(),
                        plain,
                    },
                    anchor,
                )
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), mark)?;
                (Kind::List(self.list(mark)?), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), mark)?;
                (Kind::Map(self.map(mark)?), anchor)
            }
            Event::Alias(id) => {
                let Some(value) = self.anchors.get(&id) else {
                    return Err(self.error(mark, "this alias stands inside its own anchor"));
                };
                let value = value.clone();
                self.count(size(&value), mark)?;
                return Ok(value);
            }
            _ => return Err(self.error(mark, "this is not YAML: a value is wanted here")),
        };
        let value = Value {
            kind,
            mark,
            file: Arc::clone(&self.file),
        };
        if anchor != 0 {
            // The copy kept for aliases costs memory too.
            self.count(size(&value), mark)?;
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn list(&mut self, start: Mark) -> Result<Vec<Value>, SpecError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                None => return Err(self.error(start, "this list does not end")),
                Some((Event::SequenceEnd, _)) => return Ok(items),
                Some((event, mark)) => items.push(self.value(event, mark)?),
            }
        }
    }

    fn map(&mut self, start: Mark) -> Result<Vec<(Key, Value)>, SpecError> {
        let mut entries: Vec<(Key, Value)> = Vec::new();
        let mut merged = Vec::new();
        // The line of each key: looking through the entries would take quadratic time.
        let mut seen: BTreeMap<String, u64> = BTreeMap::new();
        loop {
            let key = match self.next()? {
                None => return Err(self.error(start, "this map does not end")),
                Some((Event::MappingEnd, _)) => break,
                Some((event, mark)) => self.value(event, mark)?,
            };
            let Kind::Scalar { text, plain } = key.kind else {
                return Err(self.error(key.mark, "a key must be a text"));
            };
            let key_mark = key.mark;
            let Some((event, mark)) = self.next()? else {
                return Err(self.error(key_mark, "this key has no value"));
            };
            let value = self.value(event, mark)?;
            if plain && text == "<<" {
                self.merge(value, &mut merged)?;
                continue;
            }
            if let Some(first) = seen.insert(text.clone(), key_mark.line) {
                let message = format!("the key stands twice; the first is on line {first}");
                return Err(SpecError::new(&self.file, key_mark, &text, &message));
            }
            entries.push((Key { text, mark: key_mark }, value));
        }
        for (key, value) in merged {
            if !seen.contains_key(&key.text) {
                seen.insert(key.text.clone(), key.mark.line);
                entries.push((key, value));
            }
        }
        Ok(entries)
    }

    /// `<<`: a map, or a list of maps of which the first wins.
    fn merge(&self, value: Value, into: &mut Vec<(Key, Value)>) -> Result<(), SpecError> {
        match value.kind {
            Kind::Map(entries) => into.extend(entries),
            Kind::List(items) => {
                for item in items {
                    let Kind::Map(entries) = item.kind else {
                        return Err(self.error(item.mark, "`<<` takes maps"));
                    };
                    into.extend(entries);
                }
            }
            Kind::Scalar { .. } => return Err(self.error(value.mark, "`<<` takes a map")),
        }
        Ok(())
    }

    /// Whether the tag makes a text of the scalar.
    fn check_tag(&self, tag: Option<&Tag>, mark: Mark) -> Result<bool, SpecError> {
        match tag {
            None => Ok(false),
            Some(tag) if tag.is_yaml_core_schema_tag("str") => Ok(true),
            Some(tag) => Err(self.error(mark, &format!("the tag `{}` is not known here", tag.original()))),
        }
    }
}

fn size(value: &Value) -> usize {
    match &value.kind {
        Kind::Scalar { .. } => 1,
        Kind::List(items) => items.iter().map(size).sum::<usize>() + 1,
        Kind::Map(entries) => entries.iter().map(|(_, v)| size(v) + 1).sum::<usize>() + 1,
    }
}

fn mark(marker: &serde_saphyr::granit_parser::Marker) -> Mark {
    Mark {
        line: marker.line() as u64,
        column: marker.col() as u64 + 1,
    }
}
