//! Time zone, locale and keyboard (F046, F047).

use crate::amend::{assign, locale_gen};
use crate::values::VolumeName;

use super::builder::{Builder, Failure};
use super::cloud_init::SeedKeys;

impl Builder<'_> {
    pub(super) fn timezone(&mut self, keys: Option<&mut SeedKeys>) -> Result<(), Failure> {
        let plan = self.plan;
        let Some(zone) = &plan.wishes.timezone else {
            return Ok(());
        };
        let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+' | b'/');
        if !zone.bytes().all(ok) || zone.starts_with('/') {
            return Err(Failure::Refused(format!(
                "`{}` is no time zone; write its name such as `Europe/Berlin`",
                zone.escape_debug()
            )));
        }
        let zones = &self.facts.system.zones;
        if !zones.is_empty() && !zones.contains(zone) {
            return Err(Failure::Refused(format!(
                "{} has no time zone `{zone}`; write a name of its /usr/share/zoneinfo, such as `{}`",
                self.facts.called(),
                ["Europe/Berlin", "Etc/UTC"]
                    .into_iter()
                    .find(|z| zones.contains(*z))
                    .unwrap_or("UTC")
            )));
        }
        if zones.is_empty() {
            self.note("the base has no time zones: the time is UTC until its package `tzdata` is installed");
        }
        self.file("/etc/timezone", &format!("{zone}\n"), 0o644)?;
        self.link("/etc/localtime", &format!("/usr/share/zoneinfo/{zone}"))?;
        if let Some(keys) = keys {
            keys.baked.push("timezone");
        }
        Ok(())
    }

    pub(super) fn locale(&mut self, keys: Option<&mut SeedKeys>) -> Result<(), Failure> {
        let plan = self.plan;
        let Some(locale) = &plan.wishes.locale else {
            return Ok(());
        };
        let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'@');
        if locale.is_empty() || !locale.bytes().all(ok) {
            return Err(Failure::Refused(format!(
                "`{}` is no locale; write its name such as `en_GB.UTF-8`",
                locale.escape_debug()
            )));
        }
        let system = &self.facts.system;
        // A link on some bases: its target is the file.
        let (path, stock) = match &system.locale {
            Some((path, text)) => (path.as_str(), text.as_str()),
            None => ("/etc/default/locale", ""),
        };
        let text = assign(stock, "LANG", locale).map_err(|e| Failure::Amend("/etc/default/locale", e))?;
        self.put(VolumeName::Root, path, &text)?;
        if matches!(locale.as_str(), "C" | "POSIX" | "C.UTF-8" | "C.utf8") {
            return Ok(());
        }
        if let Some(keys) = keys {
            keys.locale = Some(locale.clone());
            self.note("the locale is baked, and cloud-init generates it");
            return Ok(());
        }
        if let Some(stock) = &system.locale_gen {
            self.put(VolumeName::Root, "/etc/locale.gen", &locale_gen(stock, locale))?;
        }
        self.note("the locale is baked; where the base does not have it generated, `locale-gen` does that on the machine");
        Ok(())
    }

    pub(super) fn keyboard(&mut self, keys: Option<&mut SeedKeys>) -> Result<(), Failure> {
        const STOCK: &str = "XKBMODEL=\"pc105\"\nXKBVARIANT=\"\"\nXKBOPTIONS=\"\"\nBACKSPACE=\"guess\"\n";
        let plan = self.plan;
        let Some(layout) = &plan.wishes.keyboard else {
            return Ok(());
        };
        let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b',' | b'-' | b'_');
        if layout.is_empty() || !layout.bytes().all(ok) {
            return Err(Failure::Refused(format!(
                "`{}` is no keyboard; write a layout of XKB such as `gb`",
                layout.escape_debug()
            )));
        }
        let stock = self.facts.system.keyboard.as_deref().unwrap_or(STOCK);
        let text = assign(stock, "XKBLAYOUT", &format!("\"{layout}\""))
            .map_err(|e| Failure::Amend("/etc/default/keyboard", e))?;
        self.put(VolumeName::Root, "/etc/default/keyboard", &text)?;
        if let Some(keys) = keys {
            keys.baked.push("keyboard");
        }
        Ok(())
    }
}
