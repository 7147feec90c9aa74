//! One entry of the list of nodes for many: a count, or all combinations of a matrix.

use serde_json::{Map, json};

use super::SpecError;
use super::profile::split;
use super::reader::Node;
use super::yaml::{Kind, Value};
use crate::template;

/// Nodes that one entry may make.
const MAX_NODES: usize = 500;

/// The entry itself, or one for each combination, with `{{ name }}` in its texts replaced.
pub(super) fn expand(item: &Node<'_>) -> Result<Vec<Value>, SpecError> {
    item.entries("a node, such as `{name: one, profile: minimal}`")?;
    let (head, entry) = split(item.value.clone(), &["matrix", "count"]);
    let head = Node {
        path: item.path.clone(),
        value: &head,
    };
    let axes: Vec<(String, Vec<String>)> = match (head.get("matrix"), head.get("count")) {
        (None, None) => return Ok(vec![entry]),
        (Some(_), Some(count)) => return Err(count.error("give `matrix` or `count`, not both")),
        (None, Some(count)) => {
            let n: usize = count.parse("a number of nodes")?;
            vec![("n".to_owned(), (1..=n).map(|i| i.to_string()).collect())]
        }
        (Some(matrix), None) => matrix
            .entries("a map such as `{crew: 01..05, node: 001..003}`")?
            .into_iter()
            .map(|(name, node)| Ok((name.to_owned(), axis(&node)?)))
            .collect::<Result<_, SpecError>>()?,
    };
    let total = axes
        .iter()
        .try_fold(1usize, |n, (_, values)| n.checked_mul(values.len()))
        .unwrap_or(usize::MAX);
    if total == 0 || total > MAX_NODES {
        return Err(item.error(format!(
            "this makes {total} nodes; one entry makes 1 to {MAX_NODES}"
        )));
    }
    let mut combinations = vec![Map::new()];
    for (name, values) in &axes {
        combinations = combinations
            .iter()
            .flat_map(|before| {
                values.iter().map(move |value| {
                    let mut one = before.clone();
                    one.insert(name.clone(), json!(value));
                    one
                })
            })
            .collect();
    }
    combinations
        .into_iter()
        .map(|one| render(&entry, &item.path, &serde_json::Value::Object(one)))
        .collect()
}

/// `01..05` with the width kept, or a list.
fn axis(node: &Node<'_>) -> Result<Vec<String>, SpecError> {
    if matches!(node.value.kind, Kind::List(_)) {
        return node
            .list("a list of values")?
            .iter()
            .map(|n| Ok(n.scalar("a value")?.to_owned()))
            .collect();
    }
    let text = node.scalar("a range such as `01..05`, or a list")?;
    let wrong = || node.error(format!("`{text}` is no range; write `01..05`, or a list"));
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let digits = |t: &str| !t.is_empty() && t.len() < 7 && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(from) || !digits(to) {
        return Err(wrong());
    }
    let (first, last): (u32, u32) = (
        from.parse().map_err(|_| wrong())?,
        to.parse().map_err(|_| wrong())?,
    );
    if first > last || last - first >= 1000 {
        return Err(wrong());
    }
    let width = from.len();
    Ok((first..=last).map(|n| format!("{n:0width$}")).collect())
}

fn render(value: &Value, path: &str, names: &serde_json::Value) -> Result<Value, SpecError> {
    let kind = match &value.kind {
        Kind::Scalar { text, plain } if text.contains("{{") || text.contains("{%") => Kind::Scalar {
            text: template::render(path, text, names)
                .map_err(|e| SpecError::new(&value.file, value.mark, path, &e.message))?,
            plain: *plain,
        },
        Kind::Scalar { .. } => value.kind.clone(),
        Kind::List(items) => Kind::List(
            items
                .iter()
                .enumerate()
                .map(|(i, v)| render(v, &format!("{path}[{i}]"), names))
                .collect::<Result<_, _>>()?,
        ),
        Kind::Map(entries) => Kind::Map(
            entries
                .iter()
                .map(|(k, v)| Ok((k.clone(), render(v, &format!("{path}.{}", k.text), names)?)))
                .collect::<Result<_, SpecError>>()?,
        ),
    };
    Ok(Value {
        kind,
        mark: value.mark,
        file: value.file.clone(),
    })
}
