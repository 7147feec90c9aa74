//! Forms of files that rows look into, read by the documents of the programs that read them.

use serde_json::Value;

use super::{Stop, fails};

/// Settings of config.txt that hold without a condition or under one, in their order: section, key, value.
pub(super) fn config_lines(text: &str) -> Vec<(String, String, String)> {
    let mut section = "all".to_owned();
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name.to_ascii_lowercase();
        } else if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            found.push((section.clone(), key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    found
}

/// The value of a key of config.txt for every board; of several the last counts.
pub(super) fn config_value(text: &str, key: &str) -> Option<String> {
    config_lines(text)
        .into_iter()
        .rev()
        .find(|(section, name, _)| section == "all" && name == key)
        .map(|(_, _, value)| value)
}

/// A YAML document as data.
pub(super) fn yaml(path: &str, text: &str) -> Result<Value, Stop> {
    serde_saphyr::from_str(text).or_else(|error| {
        let line = error.to_string();
        fails(format!(
            "`{path}` is no YAML: {}",
            line.lines().next().unwrap_or_default()
        ))
    })
}

/// Every document of a YAML file as data.
pub(super) fn yamls(path: &str, text: &str) -> Result<Vec<Value>, Stop> {
    serde_saphyr::from_multiple(text).or_else(|error| {
        let line = error.to_string();
        fails(format!(
            "`{path}` is no YAML: {}",
            line.lines().next().unwrap_or_default()
        ))
    })
}

/// Lines without comments and blank ones.
pub(super) fn plain_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
}

/// Texts of a value and of everything in it.
pub(super) fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(strings).collect(),
        Value::Object(map) => map.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_txt_is_read_by_sections() {
        let text = "a=1\n# a=5\n[pi4]\na=2\n[ALL]\nb = 3\na=4\n[pi3]\nb=9\n";
        assert_eq!(config_value(text, "a"), Some("4".to_owned()));
        assert_eq!(config_value(text, "b"), Some("3".to_owned()));
        assert_eq!(config_value(text, "c"), None);
        assert_eq!(config_lines(text).len(), 5);
    }
}
