//! The SSH server: whether it runs, whether passwords log in, and a host key made at build (F033, F051, F052).

use crate::amend::sshd_option;
use crate::plan::{Attributes, HostKeyFiles};
use crate::values::VolumeName;

use super::builder::{Builder, Failure, of_root};
use super::cloud_init::SeedKeys;

/// Where the key lies that scripts of a first boot would remove from its usual place: they remove `ssh_host_*_key*`.
const OWN_KEY: &str = "/etc/ssh/ceil_host_ed25519_key";

/// Comes before cloud-init's `50-cloud-init.conf`: of an option given twice sshd takes the first.
const DROP_IN: &str = "/etc/ssh/sshd_config.d/10-ceil.conf";

impl Builder<'_> {
    pub(super) fn ssh(&mut self, keys: Option<&mut SeedKeys>) -> Result<(), Failure> {
        let plan = self.plan;
        let wish = &plan.wishes.ssh;
        let mut options: Vec<(&str, &str)> = Vec::new();
        self.ssh_server(wish.enabled)?;
        if let Some(login) = wish.password_login {
            let word = if login { "yes" } else { "no" };
            options.push(("PasswordAuthentication", word));
            if !login {
                // PAM asks for a password by this way too; the name is that of old servers, which new ones know.
                options.push(("ChallengeResponseAuthentication", "no"));
            }
        }
        if let Some(key) = &wish.host_key {
            self.host_key(key, &mut options)?;
        }
        if let Some(keys) = keys {
            keys.password_login = wish.password_login;
            keys.host_key = wish.host_key.is_some();
        }
        self.sshd_options(&options)
    }

    fn ssh_server(&mut self, enabled: Option<bool>) -> Result<(), Failure> {
        let system = &self.facts.system;
        let unit = ["ssh.service", "sshd.service"]
            .into_iter()
            .find_map(|name| Some((name, system.units.get(name)?.clone())));
        match (enabled, unit) {
            (None, _) => Ok(()),
            (Some(true), None) if self.plan.wishes.packages.iter().any(|p| p == "openssh-server") => {
                self.note("the SSH server starts once its package is installed");
                Ok(())
            }
            (Some(true), None) => Err(Failure::Refused(format!(
                "{} has no SSH server to enable; add `openssh-server` to `packages`, or leave `ssh: enabled` out",
                self.facts.called()
            ))),
            (Some(true), Some(_)) if system.ssh.enabled => {
                self.note("the SSH server is enabled by the base already");
                Ok(())
            }
            (Some(true), Some((name, path))) => {
                self.note("the SSH server is enabled by the link of its unit");
                self.want(name, "multi-user.target", &path)
            }
            (Some(false), unit) => {
                if let Some((name, _)) = unit {
                    self.mask(name)?;
                }
                if system.units.contains_key("ssh.socket") {
                    self.mask("ssh.socket")?;
                }
                self.note("the SSH server is masked");
                Ok(())
            }
        }
    }

    fn host_key<'k>(
        &mut self,
        key: &HostKeyFiles,
        options: &mut Vec<(&'k str, &'k str)>,
    ) -> Result<(), Failure> {
        let usual = "/etc/ssh/ssh_host_ed25519_key";
        self.key_pair(key, usual)?;
        let place = if self.facts.system.ssh.first_boot_keys {
            self.key_pair(key, OWN_KEY)?;
            self.note("the host key has a second place, since the base's first boot makes new keys in the usual one");
            OWN_KEY
        } else {
            usual
        };
        // With a key named, sshd offers no other.
        options.push(("HostKey", place));
        if self
            .facts
            .system
            .units
            .contains_key("regenerate_ssh_host_keys.service")
        {
            self.mask("regenerate_ssh_host_keys.service")?;
        }
        Ok(())
    }

    fn key_pair(&mut self, key: &HostKeyFiles, path: &str) -> Result<(), Failure> {
        self.put_content(VolumeName::Root, path, key.private.clone(), of_root(0o600))?;
        let public = format!("{}\n", key.public.trim_end());
        self.file(&format!("{path}.pub"), &public, 0o644)?;
        Ok(())
    }

    fn sshd_options(&mut self, options: &[(&str, &str)]) -> Result<(), Failure> {
        if options.is_empty() {
            return Ok(());
        }
        let ssh = &self.facts.system.ssh;
        if let Some(config) = ssh.config.as_ref().filter(|_| !ssh.has_drop_ins()) {
            let mut text = config.clone();
            for (key, value) in options.iter().rev() {
                text =
                    sshd_option(&text, key, value).map_err(|e| Failure::Amend("/etc/ssh/sshd_config", e))?;
            }
            self.note("sshd_config of the base reads no further files, so it is changed itself");
            self.put_content(
                VolumeName::Root,
                "/etc/ssh/sshd_config",
                crate::plan::Content::inline(text.as_bytes()),
                Attributes::default(),
            )?;
            return Ok(());
        }
        let text: String = options
            .iter()
            .map(|(key, value)| format!("{key} {value}\n"))
            .collect();
        self.file(DROP_IN, &text, 0o644)?;
        Ok(())
    }
}
