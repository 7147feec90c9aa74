//! Kernel parameters and modules (F073 to F077).

use super::builder::{Builder, Failure};

/// Where kernel parameters go (sysctl.d(5)).
pub const SYSCTLS_FILE: &str = "/etc/sysctl.d/90-ceil.conf";
/// Where kernel modules go (modules-load.d(5)).
pub const MODULES_FILE: &str = "/etc/modules-load.d/ceil.conf";

/// The text of [`SYSCTLS_FILE`].
///
/// # Errors
/// A name or a value that would be something else there, in words.
pub fn sysctls_text(sysctls: &[(String, String)]) -> Result<String, String> {
    let mut text = String::new();
    for (key, value) in sysctls {
        let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b'*');
        if key.is_empty() || !key.bytes().all(ok) || value.contains(['\n', '\r']) {
            return Err(format!(
                "`{}` is no kernel parameter; write its name and one line, such as `net.ipv4.ip_forward: 1`",
                key.escape_debug()
            ));
        }
        text.push_str(&format!("{key} = {value}\n"));
    }
    Ok(text)
}

/// The text of [`MODULES_FILE`].
///
/// # Errors
/// A name that no module can have, in words.
pub fn modules_text(modules: &[String]) -> Result<String, String> {
    let mut text = String::new();
    for name in modules {
        module_name(name)?;
        text.push_str(&format!("{name}\n"));
    }
    Ok(text)
}

fn module_name(name: &str) -> Result<(), String> {
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if name.is_empty() || !name.bytes().all(ok) {
        return Err(format!(
            "`{}` is no kernel module; write a name such as `br_netfilter`",
            name.escape_debug()
        ));
    }
    Ok(())
}

impl Builder<'_> {
    pub(super) fn sysctls(&mut self) -> Result<(), Failure> {
        let sysctls = &self.plan.wishes.sysctls;
        if sysctls.is_empty() {
            return Ok(());
        }
        let text = sysctls_text(sysctls).map_err(Failure::Refused)?;
        self.file(SYSCTLS_FILE, &text, 0o644)?;
        Ok(())
    }

    pub(super) fn modules(&mut self) -> Result<(), Failure> {
        let plan = self.plan;
        let modules = &plan.wishes.modules;
        if modules.is_empty() {
            return Ok(());
        }
        for name in modules {
            module_name(name).map_err(Failure::Refused)?;
            self.need_module(name)?;
        }
        let text = modules_text(modules).map_err(Failure::Refused)?;
        self.file(MODULES_FILE, &text, 0o644)?;
        Ok(())
    }

    /// Refuses a module that no kernel of the base has, unless a package is to bring more of them (F076).
    pub(super) fn need_module(&mut self, name: &str) -> Result<(), Failure> {
        let facts = self.facts;
        let Some(lacking) = facts.system.lacks_module(name) else {
            self.note(format!("whether the kernel of the base has the module `{name}` is not known: it has no list of modules"));
            return Ok(());
        };
        if lacking.is_empty() {
            return Ok(());
        }
        let known = facts
            .system
            .kernels
            .iter()
            .filter(|k| k.modules.is_some())
            .count();
        if lacking.len() < known {
            self.note(format!(
                "the kernel {} lacks the module `{name}`; others of the base have it",
                lacking.join(", ")
            ));
            return Ok(());
        }
        if self
            .plan
            .wishes
            .packages
            .iter()
            .any(|p| p.starts_with("linux-modules-extra"))
        {
            self.note(format!(
                "the module `{name}` comes with the package of extra modules"
            ));
            return Ok(());
        }
        Err(Failure::Refused(format!(
            "no kernel of {} has the module `{name}` ({}); leave it out, or add the package that has it (on Ubuntu `linux-modules-extra-raspi`)",
            facts.called(),
            lacking.join(", ")
        )))
    }
}
