//! The one writer of YAML in this room.
//!
//! What is written here is read by three kinds of readers: those of YAML 1.1 (PyYAML, old Go libraries), of YAML 1.2,
//! and those that go through JSON. So a text is written without quotes only when all of them read it as that text,
//! and otherwise in double quotes with JSON's escapes, which all of them know.

use std::fmt::Write as _;

use serde_json::Value;

/// A value as one document in block form, with a line end at its end.
#[must_use]
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    block(&mut out, value, 0);
    out
}

/// Several documents in one file, `---` between them.
#[must_use]
pub fn to_yaml_documents(documents: &[Value]) -> String {
    documents.iter().map(to_yaml).collect::<Vec<_>>().join("---\n")
}

/// A value that stands on lines of its own.
fn block(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                margin(out, indent);
                text(out, key);
                out.push(':');
                after(out, value, indent);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for value in list {
                margin(out, indent);
                out.push('-');
                after(out, value, indent);
            }
        }
        scalar => {
            flow(out, scalar);
            out.push('\n');
        }
    }
}

/// A value behind `key:` or `-`.
fn after(out: &mut String, value: &Value, indent: usize) {
    let nested = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => false,
    };
    if nested {
        out.push('\n');
        block(out, value, indent + 2);
    } else {
        out.push(' ');
        flow(out, value);
        out.push('\n');
    }
}

fn margin(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// A scalar, or something empty.
fn flow(out: &mut String, value: &Value) {
    match value {
        Value::String(s) => text(out, s),
        Value::Object(_) => out.push_str("{}"),
        Value::Array(_) => out.push_str("[]"),
        // Null, booleans and numbers are spelt alike in JSON and in both versions of YAML.
        other => {
            // Writing to a String cannot fail.
            let _ = write!(out, "{other}");
        }
    }
}

/// A text, quoted unless every reader takes it for a text anyway.
fn text(out: &mut String, text: &str) {
    if is_plain(text) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            // Control characters are not allowed in YAML, and these others end lines or vanish in YAML 1.1.
            c if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') =>
            {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Starts with a letter or a slash, goes on with characters that mean nothing in YAML, and is no word that a reader
/// takes for something else.
fn is_plain(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let rest = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    starts && text.bytes().all(rest) && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn block_form() {
        let value = json!({"a": {"b": ["x", {"c": 1, "d": []}], "e": {}}, "f": null, "g": true, "h": "0600"});
        assert_eq!(
            to_yaml(&value),
            "a:\n  b:\n    - x\n    -\n      c: 1\n      d: []\n  e: {}\nf: null\ng: true\nh: \"0600\"\n"
        );
        assert_eq!(
            to_yaml_documents(&[json!({"a": 1}), json!({"b": 2})]),
            "a: 1\n---\nb: 2\n"
        );
    }

    #[test]
    fn texts_that_readers_would_take_for_something_else_are_quoted() {
        for text in [
            "",
            "yes",
            "NO",
            "On",
            "off",
            "y",
            "N",
            "true",
            "NULL",
            "~",
            "1",
            "0600",
            "1_000",
            "0x1f",
            "1e3",
            "12:30",
            "1:30:00",
            "2026-01-01",
            ".inf",
            ".nan",
            "-",
            "- a",
            "a: b",
            "a #b",
            "#a",
            "&a",
            "*a",
            "!a",
            "|",
            ">",
            "%a",
            "@a",
            "`a",
            "{a}",
            "[a]",
            "a,b",
            "=",
            "<<",
            "?",
            ":",
            "a\nb: c",
            "\"",
            "'",
            "\\",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            " a",
            "a ",
            "key:",
            "---",
            "...",
            "a\tb",
            "\u{7f}",
            "ö",
        ] {
            let written = to_yaml(&json!(text));
            assert!(
                written.starts_with('"') && written.ends_with("\"\n"),
                "{text:?}: {written}"
            );
            assert_eq!(written.lines().count(), 1, "{text:?}");
        }
        for text in [
            "one",
            "k3s-server",
            "/var/lib/x",
            "eth0",
            "e1",
            "node.kubernetes.io/x",
        ] {
            assert_eq!(to_yaml(&json!(text)), format!("{text}\n"));
        }
    }
}
