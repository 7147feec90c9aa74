//! Edits being collected: what the node's own edits say already is left to them.

use crate::amend::AmendError;
use crate::plan::{Attributes, Content, Edit, NodePlan, Op, Origin};
use crate::template::TemplateError;
use crate::values::{ImagePath, ImagePathError, Mode, Owner, Timestamp, VolumeName};

use super::{BaseFacts, Resolved};

/// Why there is no result.
pub(super) enum Failure {
    Path(ImagePathError),
    Template(TemplateError),
    Amend(&'static str, AmendError),
    Refused(String),
}

impl From<ImagePathError> for Failure {
    fn from(e: ImagePathError) -> Self {
        Self::Path(e)
    }
}

impl From<TemplateError> for Failure {
    fn from(e: TemplateError) -> Self {
        Self::Template(e)
    }
}

impl From<Failure> for String {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Path(e) => e.to_string(),
            Failure::Template(e) => e.to_string(),
            Failure::Amend(path, e) => format!("{path} of the base cannot be changed: {e}"),
            Failure::Refused(why) => why,
        }
    }
}

pub(super) struct Builder<'a> {
    pub(super) plan: &'a NodePlan,
    pub(super) facts: &'a BaseFacts,
    pub(super) resolved: Resolved,
}

impl<'a> Builder<'a> {
    pub(super) fn new(plan: &'a NodePlan, facts: &'a BaseFacts) -> Self {
        Self {
            plan,
            facts,
            resolved: Resolved::default(),
        }
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.resolved.notes.push(text.into());
    }

    pub(super) fn push(&mut self, op: Op) {
        self.resolved.edits.push(Edit {
            op,
            origin: Origin {
                file: "<identity>".to_owned(),
                line: 0,
            },
        });
    }

    /// Puts a file unless the node's own edits do; tells whether it did. Mode and owner of a file that is there stay.
    pub(super) fn put(&mut self, volume: VolumeName, path: &str, text: &str) -> Result<bool, Failure> {
        let content = Content::inline(text.as_bytes());
        self.put_content(volume, path, content, Attributes::default())
    }

    /// Puts a file of root's with a mode.
    pub(super) fn file(&mut self, path: &str, text: &str, mode: u16) -> Result<bool, Failure> {
        self.put_content(
            VolumeName::Root,
            path,
            Content::inline(text.as_bytes()),
            of_root(mode),
        )
    }

    /// Puts a file that only root may read, and whose content is not told.
    pub(super) fn secret(&mut self, path: &str, text: &str) -> Result<bool, Failure> {
        self.put_content(
            VolumeName::Root,
            path,
            Content::secret(text.as_bytes()),
            of_root(0o600),
        )
    }

    pub(super) fn put_content(
        &mut self,
        volume: VolumeName,
        path: &str,
        content: Content,
        attributes: Attributes,
    ) -> Result<bool, Failure> {
        let at = ImagePath::on(volume, path)?;
        if self.left(&at) {
            return Ok(false);
        }
        self.push(Op::Put {
            at,
            content,
            attributes,
            xattrs: Vec::new(),
            sparse: false,
        });
        Ok(true)
    }

    /// Makes a link on the root volume, also where a file stands.
    pub(super) fn link(&mut self, path: &str, to: &str) -> Result<bool, Failure> {
        let at = ImagePath::on(VolumeName::Root, path)?;
        if self.left(&at) {
            return Ok(false);
        }
        self.push(Op::Remove {
            at: at.clone(),
            recursive: false,
            if_exists: true,
        });
        self.push(Op::Symlink {
            at,
            to: to.to_owned(),
            attributes: Attributes::default(),
        });
        Ok(true)
    }

    /// Removes a name of the root volume if it is there and the node's own edits do not make it.
    pub(super) fn remove(&mut self, path: &str) -> Result<(), Failure> {
        let at = ImagePath::on(VolumeName::Root, path)?;
        if !self.left(&at) {
            self.push(Op::Remove {
                at,
                recursive: false,
                if_exists: true,
            });
        }
        Ok(())
    }

    /// Links a unit to nothing, so that it cannot start.
    pub(super) fn mask(&mut self, unit: &str) -> Result<(), Failure> {
        self.link(&format!("/etc/systemd/system/{unit}"), "/dev/null")?;
        Ok(())
    }

    /// Makes a target want a unit.
    pub(super) fn want(&mut self, unit: &str, target: &str, path: &str) -> Result<(), Failure> {
        self.link(&format!("/etc/systemd/system/{target}.wants/{unit}"), path)?;
        Ok(())
    }

    /// Whether a path is the node's own; with a word about it.
    pub(super) fn left(&mut self, at: &ImagePath) -> bool {
        let taken = self.taken(at);
        if taken {
            self.note(format!("`{at}` is put by the node's own edits and left to them"));
        }
        taken
    }

    /// Whether the node's own edits make this name.
    pub(super) fn taken(&self, at: &ImagePath) -> bool {
        self.plan.edits.iter().any(|edit| match &edit.op {
            Op::Put { at: own, .. } | Op::Symlink { at: own, .. } | Op::Hardlink { at: own, .. } => {
                self.same(own, at)
            }
            Op::Rename { to, .. } => self.same(to, at),
            _ => false,
        })
    }

    /// Whether the path of a user's edit is this place; a plain path goes through the boot volume's mount point.
    pub(super) fn same(&self, own: &ImagePath, at: &ImagePath) -> bool {
        let (volume, path) = match own.volume {
            Some(volume) => (volume, own.path()),
            None => match own
                .path()
                .strip_prefix(self.facts.boot_mount.as_str())
                .filter(|rest| rest.starts_with('/'))
            {
                Some(rest) => (VolumeName::Boot, rest),
                None => (VolumeName::Root, own.path()),
            },
        };
        let equal = match volume {
            VolumeName::Boot => path.eq_ignore_ascii_case(at.path()),
            VolumeName::Root => path == at.path(),
        };
        at.volume == Some(volume) && equal
    }
}

/// A mode, and root as owner.
pub(super) fn of_root(mode: u16) -> Attributes {
    owned(mode, (0, 0), None)
}

/// A mode, user and group id, and a time other than the epoch of the build.
pub(super) fn owned(mode: u16, (uid, gid): (u32, u32), mtime: Option<Timestamp>) -> Attributes {
    Attributes {
        mode: Some(Mode(mode)),
        owner: Some(Owner { uid, gid }),
        mtime,
    }
}
