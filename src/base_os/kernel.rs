//! Kernel parameters and modules (F073 to F077).

use super::builder::{Builder, Failure};

impl Builder<'_> {
    pub(super) fn sysctls(&mut self) -> Result<(), Failure> {
        let plan = self.plan;
        let sysctls = &plan.wishes.sysctls;
        if sysctls.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        for (key, value) in sysctls {
            let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b'*');
            if key.is_empty() || !key.bytes().all(ok) || value.contains(['\n', '\r']) {
                return Err(Failure::Refused(format!(
                    "`{}` is no kernel parameter; write its name and one line, such as `net.ipv4.ip_forward: 1`",
                    key.escape_debug()
                )));
            }
            text.push_str(&format!("{key} = {value}\n"));
        }
        self.file("/etc/sysctl.d/90-ceil.conf", &text, 0o644)?;
        Ok(())
    }

    pub(super) fn modules(&mut self) -> Result<(), Failure> {
        let plan = self.plan;
        let modules = &plan.wishes.modules;
        if modules.is_empty() {
            return Ok(());
        }
        for name in modules {
            let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
            if name.is_empty() || !name.bytes().all(ok) {
                return Err(Failure::Refused(format!(
                    "`{}` is no kernel module; write a name such as `br_netfilter`",
                    name.escape_debug()
                )));
            }
            self.need_module(name)?;
        }
        let text: String = modules.iter().map(|m| format!("{m}\n")).collect();
        self.file("/etc/modules-load.d/ceil.conf", &text, 0o644)?;
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
