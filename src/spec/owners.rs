use crate::values::{Mode, Owner};

use super::SpecError;
use super::yaml::Mark;

/// One rule of who owns what in an overlay tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerRule {
    /// Pattern over the path below the tree's root: `*` and `?` stay in one component, `**` spans components.
    pub path: String,
    /// Permission bits, setuid, setgid and sticky included.
    pub mode: Option<Mode>,
    /// Numeric owner.
    pub owner: Option<Owner>,
}

/// Rules in order; a later one wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnerRules(pub Vec<OwnerRule>);

impl OwnerRules {
    /// Mode and owner for a path below the root of the tree, without a leading slash.
    #[must_use]
    pub fn lookup(&self, path: &str) -> (Option<Mode>, Option<Owner>) {
        let mut found = (None, None);
        for rule in &self.0 {
            if glob(rule.path.trim_matches('/'), path) {
                found = (rule.mode.or(found.0), rule.owner.or(found.1));
            }
        }
        found
    }
}

/// Reads a `.ceil-owners` file: lines of `pattern mode owner`, with `-` for a field that stays as it is, `#`
/// begins a comment line. A pattern with blanks is not possible; use `?` for the blank.
///
/// ```
/// let rules = ceil_img::spec::parse_owners(".ceil-owners", "etc/shadow 0640 0:42\nsrv/** - 1000:1000\n")?;
/// assert_eq!(rules.lookup("srv/a/b").1.map(|o| o.to_string()).as_deref(), Some("1000:1000"));
/// # Ok::<(), ceil_img::spec::SpecError>(())
/// ```
///
/// # Errors
/// [`SpecError`] with the line.
pub fn parse_owners(file: &str, text: &str) -> Result<OwnerRules, SpecError> {
    let mut rules = Vec::new();
    for (number, line) in (1u64..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mark = Mark {
            line: number,
            column: 1,
        };
        let error = |message: String| SpecError::new(file, mark, "", &message);
        let words: Vec<&str> = line.split_whitespace().collect();
        let [path, mode, owner] = words[..] else {
            return Err(error(format!(
                "expected `pattern mode owner`, such as `etc/shadow 0640 0:42` or `srv/** - 1000:1000`, found {} words",
                words.len()
            )));
        };
        check_pattern(path).map_err(error)?;
        let given = |word: &'static str, text: &str| (text != word).then(|| text.to_owned());
        rules.push(OwnerRule {
            path: path.to_owned(),
            mode: given("-", mode)
                .map(|t| t.parse())
                .transpose()
                .map_err(|e: crate::values::ModeError| error(e.to_string()))?,
            owner: given("-", owner)
                .map(|t| t.parse())
                .transpose()
                .map_err(|e: crate::values::OwnerError| error(e.to_string()))?,
        });
    }
    Ok(OwnerRules(rules))
}

/// Why a pattern cannot match anything in a tree.
pub(super) fn check_pattern(path: &str) -> Result<(), String> {
    if path.split('/').any(|part| part == "..") {
        return Err(format!(
            "`{path}` is not a pattern below the tree: `..` is not allowed"
        ));
    }
    if path.matches('*').count() > 16 {
        return Err(format!("`{path}` has more than 16 stars"));
    }
    Ok(())
}

/// Whether a pattern matches a whole path. `**/` also matches nothing, as in `.gitignore`.
fn glob(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<char>, Vec<char>) = (pattern.chars().collect(), path.chars().collect());
    // `reach[j]`: the pattern up to here matches the first `j` characters. One row per pattern step, so a
    // pattern full of stars costs no more than pattern × path.
    let mut reach = vec![false; path.len() + 1];
    reach[0] = true;
    let mut i = 0;
    while i < pattern.len() {
        let mut next = vec![false; path.len() + 1];
        if pattern[i] == '*' && pattern.get(i + 1) == Some(&'*') {
            let with_slash = pattern.get(i + 2) == Some(&'/') && (i == 0 || pattern[i - 1] == '/');
            let mut open = false;
            for j in 0..=path.len() {
                open |= reach[j];
                next[j] = if with_slash {
                    reach[j] || (open && j > 0 && path[j - 1] == '/')
                } else {
                    open
                };
            }
            i += if with_slash { 3 } else { 2 };
        } else if pattern[i] == '*' {
            let mut open = false;
            for j in 0..=path.len() {
                open = reach[j] || (open && j > 0 && path[j - 1] != '/');
                next[j] = open;
            }
            i += 1;
        } else {
            for j in 0..path.len() {
                next[j + 1] = reach[j]
                    && (if pattern[i] == '?' {
                        path[j] != '/'
                    } else {
                        pattern[i] == path[j]
                    });
            }
            i += 1;
        }
        reach = next;
    }
    reach[path.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, path, expected) in [
            ("etc/shadow", "etc/shadow", true),
            ("etc/shadow", "etc/shadow-", false),
            ("etc/*", "etc/a", true),
            ("etc/*", "etc/a/b", false),
            ("etc/**", "etc/a/b", true),
            ("etc/**", "etc", false),
            ("**/key", "key", true),
            ("**/key", "a/b/key", true),
            ("**/key", "a/monkey", false),
            ("**", "a/b", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("*.conf", "x.conf", true),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("", "", true),
        ] {
            assert_eq!(glob(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_later_rule_wins_field_by_field() {
        let rules = parse_owners("o", "# all\n** 0644 0:0\nsrv/** - 1:2\nsrv/run 4755 -\n").expect("rules");
        assert_eq!(
            rules.lookup("srv/run"),
            (Some(Mode(0o4755)), Some(Owner { uid: 1, gid: 2 }))
        );
        assert_eq!(
            rules.lookup("x"),
            (Some(Mode(0o644)), Some(Owner { uid: 0, gid: 0 }))
        );
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, message) in [
            (
                "\na b",
                "o:2:1: expected `pattern mode owner`, such as `etc/shadow 0640 0:42` or `srv/** - 1000:1000`, found 2 words",
            ),
            (
                "a 999 0:0",
                "o:1:1: `999` is not a mode; write three or four octal digits in quotes, such as \"0644\"",
            ),
            (
                "a - root:root",
                "o:1:1: `root:root` is not an owner; write numbers as `uid:gid`, such as `0:0` or `1000:1000`",
            ),
            (
                "../a - 0:0",
                "o:1:1: `../a` is not a pattern below the tree: `..` is not allowed",
            ),
        ] {
            assert_eq!(parse_owners("o", text).expect_err(text).to_string(), message);
        }
    }
}
