//! A tree of values as YAML, one value a line, each with its place as a comment.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::yaml::{Kind, Value};

/// The text; a map or list without entries is `{}` or `[]`.
#[must_use]
pub fn show(value: &Value) -> String {
    let mut out = String::new();
    body(value, 0, &mut out);
    out
}

fn body(value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    // Writing to a String cannot fail.
    match &value.kind {
        Kind::Map(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                let _ = write!(out, "{indent}{}:", word(&key.text));
                below(value, depth, out);
            }
        }
        Kind::List(items) if !items.is_empty() => {
            for item in items {
                let _ = write!(out, "{indent}-");
                below(item, depth, out);
            }
        }
        _ => {
            let _ = write!(out, "{indent}");
            below(value, depth, out);
        }
    }
}

fn below(value: &Value, depth: usize, out: &mut String) {
    let text = match &value.kind {
        Kind::Map(entries) if entries.is_empty() => "{}".to_owned(),
        Kind::List(items) if items.is_empty() => "[]".to_owned(),
        Kind::Map(_) | Kind::List(_) => {
            out.push('\n');
            return body(value, depth + 1, out);
        }
        Kind::Scalar { .. } if value.is_null() => "null".to_owned(),
        Kind::Scalar { text, plain: true } => word(text),
        Kind::Scalar { text, .. } => quoted(text),
    };
    let _ = writeln!(out, " {text}  # {}:{}", value.file, value.mark.line);
}

/// A text that means the same with and without quotes stays without.
fn word(text: &str) -> String {
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.'));
    let plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'/' | b'+' | b'-' | b'=' | b'@');
    if first && text.bytes().all(plain) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// A string of JSON is one of YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Every value by the keys that lead to it, such as `ssh.enabled`; a list counts as one value.
#[must_use]
pub fn flat(value: &Value) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    collect(value, "", &mut out);
    out
}

fn collect(value: &Value, path: &str, out: &mut BTreeMap<String, String>) {
    match &value.kind {
        Kind::Map(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                let path = if path.is_empty() {
                    key.text.clone()
                } else {
                    format!("{path}.{}", key.text)
                };
                collect(value, &path, out);
            }
        }
        _ => {
            out.insert(path.to_owned(), short(value));
        }
    }
}

fn short(value: &Value) -> String {
    match &value.kind {
        Kind::Scalar { text, .. } => text.clone(),
        Kind::List(items) => format!("[{}]", items.iter().map(short).collect::<Vec<_>>().join(", ")),
        Kind::Map(entries) => {
            let entries = entries.iter().map(|(k, v)| format!("{}: {}", k.text, short(v)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    #[test]
    fn what_is_shown_reads_back_as_it_was() {
        let text =
            "a: {b: [1, {c: 'x: y'}, [z]], d: {}, e: []}\nf: |\n  two\n  lines\ng: '1'\nh: ~\n\"i j\": -3\n";
        let value = parse("f", text).expect("yaml");
        let shown = show(&value);
        let plain = |v: &Value| {
            let mut out = show(v);
            out = out
                .lines()
                .map(|l| l.split("  # ").next().unwrap_or("").to_owned() + "\n")
                .collect();
            out
        };
        let again = parse("f", &shown).expect(&shown);
        assert_eq!(plain(&again), plain(&value));
        assert!(shown.contains("g: \"1\"  # f:5\n"), "{shown}");
    }
}
