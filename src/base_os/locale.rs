//! Time zone, locale and keyboard (F046, F047).

use crate::amend::{assign, locale_gen};
use crate::values::VolumeName;

use super::builder::{Builder, Failure};
use super::cloud_init::SeedKeys;

/// Where the step `locale` of the first boot reads which locale the machine has to make.
const TO_MAKE: &str = "/etc/ceil/locale";

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
        let there = matches!(locale.as_str(), "C" | "POSIX" | "C.UTF-8" | "C.utf8");
        let system = &self.facts.system;
        // Debian's `locale-gen` makes what stands here, whatever cloud-init tells it.
        let listed = system.locale_gen.as_ref().filter(|_| !there);
        if let Some(stock) = listed {
            self.put(VolumeName::Root, "/etc/locale.gen", &locale_gen(stock, locale))?;
        }
        if let Some(keys) = keys
            && !there
        {
            // One that is the system's already it does not generate, so that is not baked.
            keys.locale = Some(locale.clone());
            self.note("the locale is left to cloud-init, which generates it");
            return Ok(());
        }
        // A link on some bases: its target is the file.
        let (path, stock) = match &system.locale {
            Some((path, text)) => (path.as_str(), text.as_str()),
            None => ("/etc/default/locale", ""),
        };
        let text = assign(stock, "LANG", locale).map_err(|e| Failure::Amend("/etc/default/locale", e))?;
        self.put(VolumeName::Root, path, &text)?;
        if there {
            return Ok(());
        }
        if listed.is_some() {
            self.file(TO_MAKE, &format!("{locale}\n"), 0o644)?;
        }
        self.note("the locale is baked; the first boot generates it");
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
