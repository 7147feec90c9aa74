//! Web addresses as they may be shown and kept: without what lets one in.

/// Parts of the names of query parameters whose values are passwords of some kind.
const SECRET_WORDS: &[&str] = &[
    "auth",
    "credential",
    "key",
    "password",
    "passwd",
    "secret",
    "sig",
    "token",
];

/// What stands where a secret was.
const HIDDEN: &str = "***";

/// A web address without its secrets: user and password before the host are left out, and the values of query
/// parameters that are named as keys, tokens or signatures are covered. An address without secrets stays as it is.
///
/// Everything that is printed, locked, cached or recorded about an address goes through here; only the request itself
/// has the whole of it.
#[must_use]
pub fn shown_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    let host_ok = authority.rsplit_once(':').is_none_or(|(_, port)| {
        port.bytes().all(|b| b.is_ascii_digit()) || authority.starts_with('[') && authority.ends_with(']')
    });
    // A password with a slash in it that should have been escaped: what looks like a port is its beginning.
    let user_end = if authority.contains('@') || host_ok {
        authority.rfind('@')
    } else {
        rest.rfind('@')
    };
    let rest = user_end.map_or(rest, |at| &rest[at + 1..]);
    let (before, fragment) = match rest.split_once('#') {
        Some((before, fragment)) => (before, Some(fragment)),
        None => (rest, None),
    };
    let mut shown = format!("{scheme}://");
    match before.split_once('?') {
        None => shown.push_str(before),
        Some((path, query)) => {
            shown.push_str(path);
            let parts: Vec<String> = query.split('&').map(shown_parameter).collect();
            shown.push('?');
            shown.push_str(&parts.join("&"));
        }
    }
    if let Some(fragment) = fragment {
        shown.push('#');
        shown.push_str(fragment);
    }
    shown
}

fn shown_parameter(parameter: &str) -> String {
    let Some((name, value)) = parameter.split_once('=') else {
        return parameter.to_owned();
    };
    let lower = name.to_ascii_lowercase();
    if value.is_empty() || !SECRET_WORDS.iter().any(|word| lower.contains(word)) {
        return parameter.to_owned();
    }
    format!("{name}={HIDDEN}")
}

#[cfg(test)]
mod tests {
    use super::shown_url;

    #[test]
    fn secrets_of_an_address_are_not_shown() {
        for (url, shown) in [
            ("https://u:pw@host:8443/a.img?x=1", "https://host:8443/a.img?x=1"),
            ("https://u@host/a", "https://host/a"),
            ("https://u:p@w@host", "https://host"),
            ("https://u:p/w@host/a", "https://host/a"),
            ("https://u:p?w#@host/a", "https://host/a"),
            ("https://u:123/w@host/a", "https://u:123/w@host/a"),
            (
                "https://h/a?id=7&Token=abc&X-Amz-Signature=1f",
                "https://h/a?id=7&Token=***&X-Amz-Signature=***",
            ),
            ("https://h/a?token=abc#part", "https://h/a?token=***#part"),
            // What has no secrets stays.
            ("https://h/a@b/c?x=@", "https://h/a@b/c?x=@"),
            ("https://[fe80::1]/a@b", "https://[fe80::1]/a@b"),
            ("http://127.0.0.1:80/", "http://127.0.0.1:80/"),
            ("no address: a@b", "no address: a@b"),
        ] {
            assert_eq!(shown_url(url), shown);
            assert_eq!(shown_url(shown), shown, "twice");
        }
    }
}
