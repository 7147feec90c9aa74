//! What must not be the same on two machines, and not be older than the build: the machine's id and its clock.

use crate::plan::{Content, Op};
use crate::values::{ImagePath, Timestamp, VolumeName, civil};

use super::builder::{Builder, Failure, owned};
use super::probe::SHARED_ID;
use super::{DbusId, Init};

/// Where the machine's id stands.
const MACHINE_ID: &str = "/etc/machine-id";

/// D-Bus's copy of it, which HypriotOS leaves behind (P01).
const DBUS_ID: &str = "/var/lib/dbus/machine-id";

/// systemd takes the word for "not yet" since this version; before it, an empty file.
const KNOWS_UNINITIALIZED: u32 = 247;

impl Builder<'_> {
    /// Every board makes an id of its own (F062, P01). A base that leaves that to the board already stays as it is.
    pub(super) fn machine_id(&mut self) -> Result<(), Failure> {
        let plan = self.plan;
        let system = &self.facts.system;
        for edit in &plan.edits {
            let Op::Put {
                at,
                content: Content::Inline { bytes, .. },
                ..
            } = &edit.op
            else {
                continue;
            };
            let ids = [
                ImagePath::on(VolumeName::Root, MACHINE_ID)?,
                ImagePath::on(VolumeName::Root, DBUS_ID)?,
            ];
            if ids.iter().any(|id| self.same(at, id)) && String::from_utf8_lossy(bytes).trim() == SHARED_ID {
                return Err(Failure::Refused(format!(
                    "`{at}` would get the machine id that every card of HypriotOS 1.4.0 has, from which addresses of networks follow; put an empty file, or none"
                )));
            }
        }
        let id = system.machine_id.as_deref().map(str::trim);
        if !matches!(id, None | Some("" | "uninitialized")) {
            let knows = matches!(system.init, Init::Systemd(Some(version)) if version >= KNOWS_UNINITIALIZED);
            self.file(MACHINE_ID, if knows { "uninitialized\n" } else { "" }, 0o444)?;
            self.note("the machine id of the base is cleared: the board makes its own");
        }
        if system.dbus_id == DbusId::File {
            self.link(DBUS_ID, MACHINE_ID)?;
            self.note("D-Bus's copy of the machine id becomes a link to it");
        }
        Ok(())
    }

    /// A clock that begins with the build, since the board has none and certificates are not valid before it (F035).
    pub(super) fn clock(&mut self) -> Result<(), Failure> {
        let epoch = self.plan.epoch;
        let clock = &self.facts.system.clock;
        if let Some((stock, on_boot)) = &clock.fake_hwclock {
            let seed = written(epoch);
            // The form compares as a text.
            if stock.trim() < seed.trim() {
                let (volume, path) = if *on_boot {
                    (VolumeName::Boot, "/fake-hwclock.data")
                } else {
                    (VolumeName::Root, "/etc/fake-hwclock.data")
                };
                self.put(volume, path, &seed)?;
                self.note("the clock begins with the time of the build, by fake-hwclock");
            }
        }
        if clock.timesyncd {
            let accounts = self.facts.system.accounts.as_ref();
            let ids = accounts.and_then(|a| a.ids("systemd-timesync")).unwrap_or((0, 0));
            self.put_content(
                VolumeName::Root,
                "/var/lib/systemd/timesync/clock",
                Content::inline(b""),
                owned(0o644, ids, Some(epoch)),
            )?;
            self.note("the clock begins with the time of the build, by the time of systemd-timesyncd's file");
        }
        Ok(())
    }
}

/// `2025-01-01 00:00:00`, in UTC, as fake-hwclock writes it.
fn written(time: Timestamp) -> String {
    let (year, month, day) = civil(time.secs.div_euclid(86_400));
    let rest = time.secs.rem_euclid(86_400);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}\n")
}
