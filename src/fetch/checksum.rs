//! Checksums as they are published: the text forms in use, and picking the right line.

use super::error::{FetchError, Result};
use crate::values::Digest;

/// Names shown at most when the wanted file is not listed.
const NAMES: usize = 12;

/// One line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSum {
    /// The digest.
    pub digest: Digest,
    /// The file it is of, as written; `None` for a bare hash.
    pub name: Option<String>,
}

/// Reads a list of SHA-256 or SHA-512 sums.
///
/// Understood are a bare hash, `<hash>  <file>`, `<hash> *<file>` with or without directories, the BSD form
/// `SHA256 (<file>) = <hash>`, all of these inside a clear-signed OpenPGP message, and hex digits in either case.
/// Lines that are none of these are passed over. The signature of a signed list is not checked.
#[must_use]
pub fn read_sums(text: &str) -> Vec<ListedSum> {
    let mut sums = Vec::new();
    for line in text.trim_start_matches('\u{feff}').lines() {
        let line = line.trim();
        if line == "-----BEGIN PGP SIGNATURE-----" {
            break;
        }
        // Clear-signed texts put `- ` before lines that begin with a dash.
        let line = line.strip_prefix("- ").unwrap_or(line);
        sums.extend(read_line(line));
    }
    sums
}

fn read_line(line: &str) -> Option<ListedSum> {
    // GNU tools put a backslash first when the name holds escapes.
    let line = line.strip_prefix('\\').unwrap_or(line);
    if let Some(sum) = read_bsd(line) {
        return Some(sum);
    }
    let (hash, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let digest: Digest = hash.parse().ok()?;
    let name = rest.trim_start();
    let name = name.strip_prefix('*').unwrap_or(name);
    Some(ListedSum {
        digest,
        name: (!name.is_empty()).then(|| name.to_owned()),
    })
}

/// `SHA256 (<file>) = <hash>`
fn read_bsd(line: &str) -> Option<ListedSum> {
    let (kind, rest) = line.split_once(" (").or_else(|| line.split_once('('))?;
    let prefix = match kind.trim().to_ascii_lowercase().as_str() {
        "sha256" | "sha2-256" => "sha256:",
        "sha512" | "sha2-512" => "sha512:",
        _ => return None,
    };
    let (name, hash) = rest.rsplit_once(')')?;
    let hash = hash.trim_start().strip_prefix('=')?.trim();
    Some(ListedSum {
        digest: format!("{prefix}{hash}").parse().ok()?,
        name: Some(name.to_owned()),
    })
}

/// The digest of the file `wanted`, found by the last part of its name. `list` names the list in messages.
///
/// A list that holds nothing but one bare hash is taken to be of the wanted file. When a file is listed with both
/// kinds of hash, the longer one counts.
///
/// # Errors
///
/// When the file is not listed, or listed with different digests of the same kind.
pub fn pick_sum(text: &str, wanted: &str, list: &str) -> Result<Digest> {
    let bad = |detail: String| FetchError::ChecksumList {
        list: list.to_owned(),
        detail,
    };
    let sums = read_sums(text);
    if sums.is_empty() {
        return Err(bad("holds no SHA-256 or SHA-512 sum".to_owned()));
    }
    let wanted = base_name(wanted);
    let named = |sum: &&ListedSum| sum.name.as_deref().is_some_and(|name| base_name(name) == wanted);
    let mut hits: Vec<&Digest> = sums.iter().filter(named).map(|sum| &sum.digest).collect();
    if hits.is_empty() && sums.iter().all(|sum| sum.name.is_none()) {
        hits = sums.iter().map(|sum| &sum.digest).collect();
    }
    let Some(longest) = hits.iter().map(|digest| digest.kind()).max() else {
        return Err(bad(format!(
            "does not list `{wanted}`; it lists {}",
            names(&sums)
        )));
    };
    hits.retain(|digest| digest.kind() == longest);
    hits.dedup();
    match hits[..] {
        [only] => Ok(only.clone()),
        _ => {
            let all: Vec<String> = hits.iter().map(ToString::to_string).collect();
            Err(bad(format!(
                "gives more than one sum for `{wanted}`: {}",
                all.join(", ")
            )))
        }
    }
}

fn names(sums: &[ListedSum]) -> String {
    let all: Vec<String> = sums
        .iter()
        .take(NAMES)
        .map(|sum| {
            sum.name
                .as_ref()
                .map_or_else(|| "a bare hash".to_owned(), |name| format!("`{name}`"))
        })
        .collect();
    match sums.len() - all.len() {
        0 => all.join(", "),
        more => format!("{} and {more} more", all.join(", ")),
    }
}

/// The last part of a path or URL, without query.
pub(super) fn base_name(path: &str) -> &str {
    let path = path.split(['?', '#']).next().unwrap_or(path);
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const B: &str = "00febbb12136c1340fd32bb8d363aa26040c568b346b2e76c38de2fd46382d24";

    fn picked(text: &str) -> String {
        pick_sum(text, "https://host/dir/card.img.xz?x=1", "sums").map_or_else(|e| e.to_string(), |d| d.hex())
    }

    #[test]
    fn every_form_in_use_is_read() {
        let signed = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{B}  other\n{A}  card.img.xz\n\
             -----BEGIN PGP SIGNATURE-----\n\niQIzBAEBCgAdFiEE\n=abcd\n-----END PGP SIGNATURE-----\n"
        );
        for text in [
            format!("{A}\n"),
            A.to_owned(),
            format!("{A}  card.img.xz\n"),
            format!("{A} *card.img.xz\r\n"),
            format!("{B}  ./x/other.img\n{A}  ./images/card.img.xz\n"),
            format!("SHA256 (other) = {B}\nSHA256 (card.img.xz) = {A}\n"),
            format!("SHA256(card.img.xz)= {A}\n"),
            format!("{}  card.img.xz\n", A.to_uppercase()),
            format!("# made by hand\n\n{A}\tcard.img.xz\n"),
            format!("\u{feff}{A}  card.img.xz\n"),
            signed,
        ] {
            assert_eq!(picked(&text), A, "{text}");
        }
    }

    #[test]
    fn what_sha512sum_writes_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("card.img.xz");
        std::fs::write(&path, b"abc").unwrap();
        for args in [&["--tag"][..], &["--binary"], &[]] {
            for tool in ["sha512sum", "sha256sum"] {
                let output = std::process::Command::new(tool)
                    .args(args)
                    .arg(&path)
                    .output()
                    .unwrap();
                let text = String::from_utf8(output.stdout).unwrap();
                let hex = picked(&text);
                assert!(
                    hex.starts_with(if tool == "sha512sum" {
                        "ddaf35a1"
                    } else {
                        "ba7816bf"
                    }),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn a_missing_name_lists_what_is_there() {
        let text = picked(&format!("{A}  a.img\n{B}  b.img\n"));
        assert_eq!(
            text,
            "`sums` does not list `card.img.xz`; it lists `a.img`, `b.img`"
        );
        assert!(picked("nothing here").contains("holds no SHA-256"));
        assert!(picked("").contains("holds no SHA-256"));
    }

    #[test]
    fn two_answers_are_no_answer() {
        assert!(picked(&format!("{A}  x/card.img.xz\n{B}  y/card.img.xz\n")).contains("more than one"));
        assert!(picked(&format!("{A}\n{B}\n")).contains("more than one"));
        assert_eq!(picked(&format!("{A}  x/card.img.xz\n{A}  y/card.img.xz\n")), A);
    }
}
