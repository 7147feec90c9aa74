//! Packages that the first boot installs (F053, F054).

use super::builder::{Builder, Failure};
use super::cloud_init::SeedKeys;

/// Where the first boot reads names of packages, one a line.
const LIST: &str = "/etc/ceil/packages";

/// Where the first boot reads whether to upgrade: `yes` or `no`.
const UPGRADE: &str = "/etc/ceil/upgrade";

impl Builder<'_> {
    pub(super) fn packages(&mut self, keys: Option<&mut SeedKeys>) -> Result<(), Failure> {
        let plan = self.plan;
        let wishes = &plan.wishes;
        let ok =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.' | b':' | b'=' | b'~' | b'/');
        if let Some(name) = wishes
            .packages
            .iter()
            .find(|p| !p.starts_with(|c: char| c.is_ascii_alphanumeric()) || !p.bytes().all(ok))
        {
            return Err(Failure::Refused(format!(
                "`{}` is no name of a package; write one such as `nftables` or `nftables=1.0.6-2`",
                name.escape_debug()
            )));
        }
        let there = &self.facts.system.packages;
        let (present, missing): (Vec<String>, Vec<String>) = wishes
            .packages
            .iter()
            .cloned()
            .partition(|name| there.contains_key(name));
        if !present.is_empty() {
            self.note(format!("the base has these packages: {}", present.join(", ")));
        }
        if missing.is_empty() && wishes.upgrade.is_none() {
            return Ok(());
        }
        if let Some(keys) = keys {
            keys.packages = missing;
            keys.upgrade = wishes.upgrade;
            self.note(
                "packages are left to cloud-init, which installs them on the first boot with a network",
            );
            return Ok(());
        }
        if !missing.is_empty() {
            let text: String = missing.iter().map(|p| format!("{p}\n")).collect();
            self.file(LIST, &text, 0o644)?;
        }
        if let Some(upgrade) = wishes.upgrade {
            self.file(UPGRADE, if upgrade { "yes\n" } else { "no\n" }, 0o644)?;
        }
        self.note(
            "there is no cloud-init seed: packages are listed below /etc/ceil, for a unit of the first boot",
        );
        Ok(())
    }
}
