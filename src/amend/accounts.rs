//! `/etc/passwd`, `shadow`, `group` and `gshadow` as passwd(5), shadow(5), group(5) and gshadow(5) describe them.

use std::collections::BTreeSet;

use super::{AmendError, line_ending, lines, push_line};

/// Ids of ordinary accounts, as `/etc/login.defs` of Debian has them.
const ORDINARY: std::ops::Range<u32> = 1000..60_000;

/// Ids of groups of the system, given from the top as `groupadd --system` does.
const SYSTEM: std::ops::Range<u32> = 100..1000;

/// The four texts that know accounts.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    /// `/etc/passwd`.
    pub passwd: String,
    /// `/etc/shadow`.
    pub shadow: String,
    /// `/etc/group`.
    pub group: String,
    /// `/etc/gshadow`; `None` on systems without.
    pub gshadow: Option<String>,
}

impl std::fmt::Debug for Accounts {
    /// Names only: the other files hold hashes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(entries(&self.passwd).map(|e| e[0]))
            .finish()
    }
}

/// An account as it should be.
#[derive(Clone, Copy)]
pub struct Account<'a> {
    /// Login name.
    pub name: &'a str,
    /// Full name.
    pub gecos: &'a str,
    /// Login shell.
    pub shell: &'a str,
    /// Hash as crypt(5) writes it; locked without one.
    pub hash: Option<&'a str>,
    /// Groups besides its own.
    pub groups: &'a [String],
    /// Day of the last change of the password, in days since 1970.
    pub day: i64,
}

impl std::fmt::Debug for Account<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Account({})", self.name)
    }
}

/// Where an account lives and whom its files belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// User id.
    pub uid: u32,
    /// Id of its own group.
    pub gid: u32,
    /// Home folder.
    pub home: String,
}

impl Accounts {
    /// Adds an account, or changes the one of that name: a known one keeps its ids and its home folder. A new one gets
    /// a group of its own and the first free id from 1000 on that is free for both. Groups that are missing are made as
    /// groups of the system.
    ///
    /// # Errors
    /// [`AmendError::Unwritable`] for names, words with `:` or line ends, and when no id is left.
    pub fn set(&mut self, account: &Account<'_>) -> Result<Placed, AmendError> {
        for name in std::iter::once(account.name).chain(account.groups.iter().map(String::as_str)) {
            if !is_name(name) {
                return Err(unwritable(name, "/etc/passwd as a name"));
            }
        }
        for word in [account.gecos, account.shell, account.hash.unwrap_or_default()] {
            if word.contains([':', '\n', '\r']) {
                // The word may be a hash.
                return Err(unwritable("a word with `:` or a line end", "/etc/passwd"));
            }
        }
        let placed = match find(&self.passwd, account.name).and_then(|line| parse(&line)) {
            Some(placed) => placed,
            None => self.place(account.name)?,
        };
        let Placed { uid, gid, home } = &placed;
        let shell = account.shell;
        let line = format!("{}:x:{uid}:{gid}:{}:{home}:{shell}", account.name, account.gecos);
        self.passwd = set_line(&self.passwd, account.name, &line);
        let hash = account.hash.unwrap_or("!");
        let line = format!("{}:{hash}:{}:0:99999:7:::", account.name, account.day);
        self.shadow = set_line(&self.shadow, account.name, &line);
        for group in account.groups {
            self.join(group, account.name)?;
        }
        Ok(placed)
    }

    /// Locks the password of an account; other ways in stay. Nothing happens when there is no such account.
    pub fn lock(&mut self, name: &str) {
        let Some(line) = find(&self.shadow, name) else {
            return;
        };
        let mut fields: Vec<&str> = line.split(':').collect();
        if let Some(hash) = fields.get_mut(1) {
            *hash = "!";
        }
        let line = fields.join(":");
        self.shadow = set_line(&self.shadow, name, &line);
    }

    /// Names of ordinary accounts that a password opens.
    #[must_use]
    pub fn with_password(&self) -> Vec<String> {
        let opens = |name: &str| {
            find(&self.shadow, name).is_some_and(|line| {
                let hash = line.split(':').nth(1).unwrap_or("!");
                !hash.starts_with(['!', '*'])
            })
        };
        entries(&self.passwd)
            .filter(|e| {
                e.get(2)
                    .and_then(|uid| uid.parse::<u32>().ok())
                    .is_some_and(|uid| ORDINARY.contains(&uid))
            })
            .map(|e| e[0].to_owned())
            .filter(|name| opens(name))
            .collect()
    }

    /// User and group id of a name, when there is such an account.
    #[must_use]
    pub fn ids(&self, name: &str) -> Option<(u32, u32)> {
        let placed = parse(&find(&self.passwd, name)?)?;
        Some((placed.uid, placed.gid))
    }

    /// Id of a group, when there is such a one.
    #[must_use]
    pub fn group_id(&self, name: &str) -> Option<u32> {
        find(&self.group, name)?.split(':').nth(2)?.parse().ok()
    }

    fn place(&mut self, name: &str) -> Result<Placed, AmendError> {
        let home = format!("/home/{name}");
        if let Some(line) = find(&self.group, name) {
            let gid = line.split(':').nth(2).and_then(|id| id.parse().ok());
            let gid = gid.ok_or_else(|| unwritable(&line, "/etc/group"))?;
            let users = ids(&self.passwd);
            let uid = ORDINARY.clone().find(|id| !users.contains(id));
            let uid = uid.ok_or_else(|| unwritable(name, "/etc/passwd, which has no free id"))?;
            return Ok(Placed { uid, gid, home });
        }
        let (users, groups) = (ids(&self.passwd), ids(&self.group));
        let id = ORDINARY
            .clone()
            .find(|id| !users.contains(id) && !groups.contains(id));
        let id = id.ok_or_else(|| unwritable(name, "/etc/passwd, which has no free id"))?;
        self.add_group(name, id);
        Ok(Placed {
            uid: id,
            gid: id,
            home,
        })
    }

    fn add_group(&mut self, name: &str, gid: u32) {
        self.group = set_line(&self.group, name, &format!("{name}:x:{gid}:"));
        if let Some(gshadow) = &self.gshadow {
            self.gshadow = Some(set_line(gshadow, name, &format!("{name}:!::")));
        }
    }

    /// Makes a user a member of a group, which is made when missing.
    fn join(&mut self, group: &str, user: &str) -> Result<(), AmendError> {
        if find(&self.group, group).is_none() {
            let taken = ids(&self.group);
            let gid = SYSTEM.clone().rev().find(|id| !taken.contains(id));
            let gid = gid.ok_or_else(|| unwritable(group, "/etc/group, which has no free id"))?;
            self.add_group(group, gid);
        }
        self.group = add_member(&self.group, group, user);
        if let Some(gshadow) = &self.gshadow {
            self.gshadow = Some(add_member(gshadow, group, user));
        }
        Ok(())
    }
}

fn unwritable(what: &str, place: &'static str) -> AmendError {
    AmendError::Unwritable(what.escape_debug().to_string(), place)
}

/// Names as `useradd` takes them: 32 bytes, a small letter or `_` first, then also digits, `-`; `.` inside.
fn is_name(name: &str) -> bool {
    let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.');
    name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && !name.ends_with('.')
        && name.bytes().all(ok)
}

/// Lines with a name, split at colons.
fn entries(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with(['#', '+', '-']))
        .map(|line| line.split(':').collect())
}

fn ids(text: &str) -> BTreeSet<u32> {
    entries(text).filter_map(|e| e.get(2)?.parse().ok()).collect()
}

fn find(text: &str, name: &str) -> Option<String> {
    text.lines()
        .find(|line| line.split(':').next() == Some(name))
        .map(str::to_owned)
}

fn parse(line: &str) -> Option<Placed> {
    let fields: Vec<&str> = line.split(':').collect();
    Some(Placed {
        uid: fields.get(2)?.parse().ok()?,
        gid: fields.get(3)?.parse().ok()?,
        home: (*fields.get(5)?).to_owned(),
    })
}

/// Replaces the line of a name, or appends it.
fn set_line(text: &str, name: &str, line: &str) -> String {
    let ending = line_ending(text);
    let mut all = lines(text);
    let at = all
        .iter()
        .position(|old| old.trim_end_matches(['\r', '\n']).split(':').next() == Some(name));
    if let Some(old) = at.and_then(|at| all.get_mut(at)) {
        let tail = if old.ends_with('\n') { ending } else { "" };
        *old = format!("{line}{tail}");
    } else {
        let end = all.len();
        push_line(&mut all, end, line, ending);
    }
    all.concat()
}

/// Adds a name to the last field of a group's line.
fn add_member(text: &str, group: &str, user: &str) -> String {
    let Some(line) = find(text, group) else {
        return text.to_owned();
    };
    let (front, members) = line.rsplit_once(':').unwrap_or((&line, ""));
    if members.split(',').any(|member| member == user) {
        return text.to_owned();
    }
    let comma = if members.is_empty() { "" } else { "," };
    set_line(text, group, &format!("{front}:{members}{comma}{user}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stock() -> Accounts {
        Accounts {
            passwd: "root:x:0:0:root:/root:/bin/bash\npi:x:1000:1000:,,,:/home/pi:/bin/bash\n".to_owned(),
            shadow: "root:*:20254:0:99999:7:::\npi:$6$s$h:20254:0:99999:7:::\n".to_owned(),
            group: "root:x:0:\nsudo:x:27:pi\nnetdev:x:999:\npi:x:1000:\n".to_owned(),
            gshadow: Some("root:*::\nsudo:*::pi\nnetdev:!::\npi:!::\n".to_owned()),
        }
    }

    fn account<'a>(name: &'a str, groups: &'a [String]) -> Account<'a> {
        Account {
            name,
            gecos: "A B",
            shell: "/bin/sh",
            hash: Some("$y$x"),
            groups,
            day: 20_089,
        }
    }

    #[test]
    fn f048_a_new_account_gets_ids_of_its_own_and_groups_are_made() {
        let mut accounts = stock();
        let groups = ["sudo".to_owned(), "docker".to_owned()];
        let placed = accounts.set(&account("admin", &groups)).expect("set");
        assert_eq!(
            placed,
            Placed {
                uid: 1001,
                gid: 1001,
                home: "/home/admin".to_owned()
            }
        );
        assert!(
            accounts
                .passwd
                .ends_with("admin:x:1001:1001:A B:/home/admin:/bin/sh\n")
        );
        assert!(accounts.shadow.ends_with("admin:$y$x:20089:0:99999:7:::\n"));
        assert_eq!(
            accounts.group,
            "root:x:0:\nsudo:x:27:pi,admin\nnetdev:x:999:\npi:x:1000:\nadmin:x:1001:\ndocker:x:998:admin\n"
        );
        assert_eq!(
            accounts.gshadow.as_deref(),
            Some("root:*::\nsudo:*::pi,admin\nnetdev:!::\npi:!::\nadmin:!::\ndocker:!::admin\n")
        );
        let once = accounts.clone();
        accounts.set(&account("admin", &groups)).expect("again");
        assert!(accounts == once, "twice is once");
    }

    #[test]
    fn a_known_account_keeps_its_ids_and_is_locked_without_a_password() {
        let mut accounts = stock();
        assert_eq!(accounts.with_password(), ["pi"]);
        let mut wanted = account("pi", &[]);
        wanted.hash = None;
        assert_eq!(accounts.set(&wanted).expect("set").uid, 1000);
        assert!(accounts.passwd.contains("pi:x:1000:1000:A B:/home/pi:/bin/sh\n"));
        assert!(accounts.shadow.contains("pi:!:20089:"));
        assert_eq!(accounts.with_password(), [""; 0]);
        let mut accounts = stock();
        accounts.lock("pi");
        accounts.lock("nobody");
        assert!(accounts.shadow.ends_with("pi:!:20254:0:99999:7:::\n"));
        assert_eq!(accounts.ids("pi"), Some((1000, 1000)));
    }

    #[test]
    fn what_would_break_the_files_is_refused_and_hashes_are_not_told() {
        for name in [
            "",
            "A",
            "a:b",
            "a\nb",
            "-a",
            "a.",
            "x23456789012345678901234567890123",
        ] {
            assert!(stock().set(&account(name, &[])).is_err(), "{name:?}");
        }
        let mut wanted = account("a", &[]);
        wanted.hash = Some("sec:ret");
        let error = stock().set(&wanted).expect_err("refused").to_string();
        assert!(!error.contains("sec"), "{error}");
        assert!(stock().set(&account("a", &["b,c".to_owned()])).is_err());
        assert_eq!(format!("{:?}", stock()), "[\"root\", \"pi\"]");
    }
}
