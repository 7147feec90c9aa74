//! How one set of settings lies over another: maps key by key, lists one after the other, the rest by the later.

use super::yaml::{Kind, Value};

/// Values that are taken whole: their keys exclude each other.
const WHOLE: [&str; 3] = ["base", "address", "output"];

/// Lays `over` over `under`. A list is added to the one below, unless it is written as `{replace: [...]}`.
pub(crate) fn merge(under: Value, over: &Value) -> Value {
    match (under.kind, &over.kind) {
        (Kind::Map(mut entries), Kind::Map(more)) => {
            if replaced(over).is_some() {
                return plain(over);
            }
            for (key, value) in more {
                match entries.iter_mut().find(|(k, _)| k.text == key.text) {
                    Some((k, below)) => {
                        let whole = WHOLE.contains(&key.text.as_str());
                        let lower = std::mem::replace(below, plain(value));
                        if !whole {
                            *below = merge(lower, value);
                        }
                        k.mark = key.mark;
                    }
                    None => entries.push((key.clone(), plain(value))),
                }
            }
            Value {
                kind: Kind::Map(entries),
                mark: over.mark,
                file: over.file.clone(),
            }
        }
        (Kind::List(mut items), Kind::List(more)) => {
            items.extend(more.iter().map(plain));
            Value {
                kind: Kind::List(items),
                mark: over.mark,
                file: over.file.clone(),
            }
        }
        _ => plain(over),
    }
}

/// The list of `{replace: [...]}`.
fn replaced(value: &Value) -> Option<&Value> {
    match &value.kind {
        Kind::Map(entries) => match entries.as_slice() {
            [(key, list)] if key.text == "replace" && matches!(list.kind, Kind::List(_)) => Some(list),
            _ => None,
        },
        _ => None,
    }
}

/// The value with every `{replace: [...]}` in it taken for the list: below it there is nothing.
fn plain(value: &Value) -> Value {
    if let Some(list) = replaced(value) {
        return plain(list);
    }
    let kind = match &value.kind {
        Kind::Map(entries) => Kind::Map(entries.iter().map(|(k, v)| (k.clone(), plain(v))).collect()),
        Kind::List(items) => Kind::List(items.iter().map(plain).collect()),
        Kind::Scalar { .. } => value.kind.clone(),
    };
    Value {
        kind,
        mark: value.mark,
        file: value.file.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    fn shown(value: &Value) -> String {
        match &value.kind {
            Kind::Scalar { text, .. } => text.clone(),
            Kind::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
            Kind::Map(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|(k, v)| format!("{}:{}", k.text, shown(v)))
                    .collect();
                format!("{{{}}}", entries.join(" "))
            }
        }
    }

    #[test]
    fn maps_lists_words_and_wholes() {
        for (under, over, result) in [
            ("a: 1\nb: 2", "b: 3\nc: 4", "{a:1 b:3 c:4}"),
            ("m: {a: 1, b: 2}", "m: {b: 3}", "{m:{a:1 b:3}}"),
            ("l: [1, 2]", "l: [3]", "{l:[1 2 3]}"),
            ("l: [1, 2]", "l: {replace: [3]}", "{l:[3]}"),
            ("x: 1", "l: {replace: [3]}", "{x:1 l:[3]}"),
            ("k: {add: [a]}", "k: {add: {replace: []}}", "{k:{add:[]}}"),
            ("swap: off", "swap: {zram: 1GiB}", "{swap:{zram:1GiB}}"),
            ("base: {url: u, sha256: s}", "base: {path: p}", "{base:{path:p}}"),
            ("address: 1", "address: {cidr: 2}", "{address:{cidr:2}}"),
        ] {
            let merged = merge(
                parse("u", under).expect("under"),
                &parse("o", over).expect("over"),
            );
            assert_eq!(shown(&merged), result, "{under} < {over}");
        }
    }

    #[test]
    fn values_keep_their_places() {
        let merged = merge(
            parse("u", "a: 1\nb: 2").expect("u"),
            &parse("o", "\nb: 3").expect("o"),
        );
        let Kind::Map(entries) = &merged.kind else {
            panic!("a map")
        };
        let places: Vec<_> = entries.iter().map(|(_, v)| (&*v.file, v.mark.line)).collect();
        assert_eq!(places, [("u", 1), ("o", 2)]);
    }
}
