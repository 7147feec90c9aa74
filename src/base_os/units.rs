//! Units of systemd that are enabled or masked.

use crate::plan::{Op, UnitState};
use crate::values::{ImagePath, VolumeName};

use super::builder::{Builder, Failure};

/// Where a unit's file may stand among the node's edits.
const FOLDERS: [&str; 3] = [
    "/etc/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

impl Builder<'_> {
    pub(super) fn units(&mut self) -> Result<(), Failure> {
        let plan = self.plan;
        let units = &plan.wishes.units;
        if !units.is_empty() && !self.facts.system.is_systemd() {
            return Err(Failure::Refused(format!(
                "units need systemd, which {} does not have",
                self.facts.called()
            )));
        }
        for unit in units {
            let names = [Some(unit.name.as_str()), target(&unit.state)];
            for name in names.into_iter().flatten() {
                if !is_unit(name) {
                    return Err(Failure::Refused(format!(
                        "`{}` is no unit; write its whole name, such as `k3s.service`",
                        name.escape_debug()
                    )));
                }
            }
            match &unit.state {
                UnitState::Masked => self.mask(&unit.name)?,
                UnitState::Enabled(target) => {
                    let Some(path) = self.unit_path(&unit.name)? else {
                        return Err(Failure::Refused(format!(
                            "neither {} nor the edits of the node have the unit `{}` to enable; put it to /etc/systemd/system",
                            self.facts.called(),
                            unit.name
                        )));
                    };
                    self.want(&unit.name, target, &path)?;
                }
            }
        }
        Ok(())
    }

    /// Where the unit's file is: among the node's own edits, those of its wishes, or in the base. `a@b.service` is a
    /// case of `a@.service`.
    fn unit_path(&self, name: &str) -> Result<Option<String>, Failure> {
        let template = name
            .split_once('@')
            .and_then(|(front, back)| Some(format!("{front}@.{}", back.rsplit_once('.')?.1)));
        for name in std::iter::once(name).chain(template.as_deref()) {
            for folder in FOLDERS {
                let path = format!("{folder}/{name}");
                let at = ImagePath::on(VolumeName::Root, &path)?;
                let own = self
                    .resolved
                    .edits
                    .iter()
                    .any(|e| matches!(&e.op, Op::Put { at: put, .. } if *put == at));
                if own || self.taken(&at) {
                    return Ok(Some(path));
                }
            }
            if let Some(path) = self.facts.system.units.get(name) {
                return Ok(Some(path.clone()));
            }
        }
        Ok(None)
    }
}

fn target(state: &UnitState) -> Option<&str> {
    match state {
        UnitState::Enabled(target) => Some(target),
        UnitState::Masked => None,
    }
}

/// Names as systemd.unit(5) has them.
fn is_unit(name: &str) -> bool {
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'-' | b'_' | b'.' | b'\\' | b'@');
    name.len() < 256
        && name.bytes().all(ok)
        && name
            .rsplit_once('.')
            .is_some_and(|(front, kind)| !front.is_empty() && !kind.is_empty())
}
