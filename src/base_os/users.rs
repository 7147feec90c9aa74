//! Accounts: by cloud-init where it has a seed, since numbers of users belong to the running machine there; in the
//! image's own files otherwise (F048 to F050).

use serde_json::{Value, json};

use crate::amend::{Account, AmendError};
use crate::plan::{Attributes, Content, Op, PasswordHashes, User};
use crate::values::{ImagePath, VolumeName};

use super::builder::{Builder, Failure, owned};
use super::cloud_init::SeedKeys;

/// Names that images of known passwords use (F049).
const KNOWN: [&str; 2] = ["pirate", "pi"];

/// Longest rule for sudo that is written, in bytes.
const MAX_RULE: usize = 1024;

impl Builder<'_> {
    pub(super) fn users(&mut self, keys: Option<&mut SeedKeys>) -> Result<(), Failure> {
        let plan = self.plan;
        let users = &plan.wishes.users;
        for user in users {
            self.check_user(user)?;
        }
        if users.is_empty() {
            return match keys {
                Some(_) => Ok(()),
                None => self.known_passwords(),
            };
        }
        if users.iter().any(|u| u.sudo.is_some())
            && !self.facts.system.sudo
            && !plan.wishes.packages.iter().any(|p| p == "sudo")
        {
            self.note("the base has no sudo: add it to `packages`, or the rules have nobody to read them");
        }
        match keys {
            Some(keys) => {
                self.note("accounts go to cloud-init, which gives them their numbers; the base's own default account is not made");
                keys.users = users.iter().map(|user| self.entry(user)).collect();
                keys.hashes = users.iter().any(|u| u.password.is_some());
                Ok(())
            }
            None => self.baked_users(users),
        }
    }

    fn check_user(&self, user: &User) -> Result<(), Failure> {
        let refuse = |why: String| {
            Err(Failure::Refused(format!(
                "user `{}`: {why}",
                user.name.escape_debug()
            )))
        };
        if !self.plan.wishes.legacy && KNOWN.contains(&user.name.as_str()) && user.password.is_some() {
            return refuse("everyone knows this name, and its password is guessed first; choose another name, leave the password out, or say `legacy: true`".to_owned());
        }
        let line = |text: &str| text.contains(['\n', '\r', '\0']);
        if user.ssh_keys.iter().any(|key| line(key) || key.trim().is_empty()) {
            return refuse("a key for SSH is one line".to_owned());
        }
        if user
            .sudo
            .as_deref()
            .is_some_and(|rule| line(rule) || rule.trim().is_empty() || rule.len() > MAX_RULE)
        {
            return refuse("a rule for sudo is one line, such as `ALL=(ALL) NOPASSWD:ALL`".to_owned());
        }
        if !user.shell.starts_with('/') || line(&user.shell) {
            return refuse("a shell is an absolute path, such as `/bin/bash`".to_owned());
        }
        Ok(())
    }

    fn hash<'u>(&self, hashes: &'u PasswordHashes) -> &'u str {
        // yescrypt came to Debian with 11 and to Ubuntu with 22.04, as control groups of generation 2 did.
        if self.facts.cgroup_generation() == Some(2) {
            &hashes.yescrypt
        } else {
            &hashes.sha512_crypt
        }
    }

    /// An entry of `users`, of keys that every cloud-init reads. `hashed_passwd` holds for accounts that are there too,
    /// and 0.7.6 lacks it.
    fn entry(&self, user: &User) -> Value {
        let release = self.facts.cloud_init.as_ref().and_then(super::CloudInit::release);
        let old = release.is_some_and(|r| r.is_old());
        let mut entry = json!({"name": user.name});
        if let Some(gecos) = &user.gecos {
            entry["gecos"] = json!(gecos);
        }
        if !user.groups.is_empty() {
            entry["groups"] = json!(user.groups.join(", "));
        }
        entry["shell"] = json!(user.shell);
        if let Some(sudo) = &user.sudo {
            entry["sudo"] = json!(sudo);
        }
        entry["lock_passwd"] = json!(user.password.is_none());
        if let Some(hashes) = &user.password {
            let key = if old { "passwd" } else { "hashed_passwd" };
            entry[key] = json!(self.hash(hashes));
        }
        if !user.ssh_keys.is_empty() {
            entry["ssh_authorized_keys"] = json!(user.ssh_keys);
        }
        entry
    }

    /// Accounts of the base that a password opens which everyone knows.
    pub(super) fn known_passwords(&mut self) -> Result<(), Failure> {
        let open = self
            .facts
            .system
            .accounts
            .as_ref()
            .map(crate::amend::Accounts::with_password);
        let open: Vec<String> = open.unwrap_or_default();
        let known = open.iter().any(|name| KNOWN.contains(&name.as_str()));
        if known && !self.plan.wishes.legacy {
            return Err(Failure::Refused(format!(
                "{} has the account `{}` with a password that everyone knows; give `users` of your own, which locks it, or say `legacy: true`",
                self.facts.called(),
                open.join("`, `")
            )));
        }
        Ok(())
    }

    fn baked_users(&mut self, users: &[User]) -> Result<(), Failure> {
        let facts = self.facts;
        let Some(mut accounts) = facts.system.accounts.clone() else {
            return Err(Failure::Refused(format!(
                "{} has no /etc/passwd to put accounts into, and no cloud-init seed",
                facts.called()
            )));
        };
        for path in ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"] {
            if self.taken(&ImagePath::on(VolumeName::Root, path)?) {
                return Err(Failure::Refused(format!(
                    "`{path}` is put by the node's own edits, so that `users` cannot be added to it; leave one of the two out"
                )));
            }
        }
        let wrong = |e: AmendError| Failure::Amend("/etc/passwd", e);
        let day = self.plan.epoch.secs.div_euclid(86_400);
        let mut homes = Vec::new();
        for user in users {
            let account = Account {
                name: &user.name,
                gecos: user.gecos.as_deref().unwrap_or_default(),
                shell: &user.shell,
                hash: user.password.as_ref().map(|hashes| self.hash(hashes)),
                groups: &user.groups,
                day,
            };
            homes.push(accounts.set(&account).map_err(wrong)?);
        }
        if !self.plan.wishes.legacy {
            let others: Vec<String> = accounts
                .with_password()
                .into_iter()
                .filter(|name| !users.iter().any(|u| u.name == *name))
                .collect();
            for name in others {
                accounts.lock(&name);
                self.note(format!("the password of the base's account `{name}` is locked"));
            }
        }
        self.note("accounts are baked into the root volume, since there is no cloud-init seed");
        self.put(VolumeName::Root, "/etc/passwd", &accounts.passwd)?;
        self.put(VolumeName::Root, "/etc/group", &accounts.group)?;
        // Readable by the group `shadow`, as Debian has it: mode and owner of a file that is there stay.
        let shadow = accounts.group_id("shadow").unwrap_or(0);
        let attributes = |there: bool| {
            if there {
                Attributes::default()
            } else {
                owned(0o640, (0, shadow), None)
            }
        };
        let had_shadow = facts
            .system
            .accounts
            .as_ref()
            .is_some_and(|a| !a.shadow.is_empty());
        let content = Content::secret(accounts.shadow.as_bytes());
        self.put_content(VolumeName::Root, "/etc/shadow", content, attributes(had_shadow))?;
        if let Some(gshadow) = &accounts.gshadow {
            let content = Content::secret(gshadow.as_bytes());
            self.put_content(VolumeName::Root, "/etc/gshadow", content, attributes(true))?;
        }
        for (user, placed) in users.iter().zip(homes) {
            self.home(user, &placed.home, (placed.uid, placed.gid))?;
            if let Some(rule) = &user.sudo {
                // sudo passes over names with a dot.
                let path = format!("/etc/sudoers.d/90-ceil-{}", user.name.replace('.', "_"));
                self.file(&path, &format!("{} {rule}\n", user.name), 0o440)?;
            }
        }
        if !self.plan.wishes.legacy {
            self.remove("/etc/sudoers.d/010_pi-nopasswd")?;
        }
        if facts.system.units.contains_key("userconfig.service") {
            self.mask("userconfig.service")?;
            self.note("the first boot does not ask for a user");
        }
        Ok(())
    }

    fn home(&mut self, user: &User, home: &str, ids: (u32, u32)) -> Result<(), Failure> {
        let dir = |builder: &mut Self, path: &str, mode: u16| -> Result<(), Failure> {
            builder.push(Op::Dir {
                at: ImagePath::on(VolumeName::Root, path)?,
                attributes: owned(mode, ids, None),
            });
            Ok(())
        };
        let home = home.trim_end_matches('/');
        if ids.0 != 0 {
            dir(self, home, 0o700)?;
            let known = self
                .facts
                .system
                .accounts
                .as_ref()
                .and_then(|a| a.ids(&user.name));
            if known.is_none() {
                for (name, text) in &self.facts.system.skel {
                    let content = Content::inline(text.as_bytes());
                    self.put_content(
                        VolumeName::Root,
                        &format!("{home}/{name}"),
                        content,
                        owned(0o644, ids, None),
                    )?;
                }
            }
        }
        if user.ssh_keys.is_empty() {
            return Ok(());
        }
        dir(self, &format!("{home}/.ssh"), 0o700)?;
        let text: String = user
            .ssh_keys
            .iter()
            .map(|key| format!("{}\n", key.trim()))
            .collect();
        let path = format!("{home}/.ssh/authorized_keys");
        self.put_content(
            VolumeName::Root,
            &path,
            Content::inline(text.as_bytes()),
            owned(0o600, ids, None),
        )?;
        Ok(())
    }
}
