use std::collections::BTreeMap;

/// The fields of an os-release(5) file: shell assignments without expansion, quotes and escapes resolved. Lines
/// that are no assignment are passed over; of a field given twice the last counts.
#[must_use]
pub fn parse_os_release(text: &str) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    for line in text.lines() {
        let line = line.trim();
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let ok = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if key.is_empty() || !key.bytes().all(ok) {
            continue;
        }
        fields.insert(key.to_owned(), unquote(value));
    }
    fields
}

fn unquote(value: &str) -> String {
    let inner = |quote: char| value.strip_prefix(quote).and_then(|v| v.strip_suffix(quote));
    if let Some(text) = inner('\'') {
        return text.to_owned();
    }
    let text = inner('"').unwrap_or(value);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_stock_file() {
        let fields = parse_os_release(
            "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n# comment=1\nID=debian\nVERSION_CODENAME=trixie\nA='b\\c'\nE=\"a\\\"b\\$\"\nbad line\nX=\n",
        );
        assert_eq!(fields["PRETTY_NAME"], "Debian GNU/Linux 13 (trixie)");
        assert_eq!(fields["ID"], "debian");
        assert_eq!(fields["A"], "b\\c");
        assert_eq!(fields["E"], "a\"b$");
        assert_eq!(fields["X"], "");
        assert_eq!(fields.len(), 6);
    }
}
