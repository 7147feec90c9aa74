//! Carrying an edit list out on an open image.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::below;
use super::grow::{self, GROW_STEP};
use crate::amend::{self, AmendError};
use crate::disk::Source;
use crate::fs::{Attrs, Follow, FsError, NodeKind, Time, Volume, resolve, show, tree};
use crate::image::{Image, ImageError};
use crate::plan::{Attributes, Content, Edit, Op, Origin, Xattr};
use crate::values::{ImagePath, Timestamp, VolumeName};

/// Text files that are amended are small; anything longer is not what it should be.
const TEXT_LIMIT: u64 = 1 << 20;

/// Facts about the base that edits need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Where the FAT is mounted in the running system, such as `/boot/firmware`.
    pub boot_mount: Option<String>,
    /// The command line that the firmware reads, below the FAT's root.
    pub cmdline: String,
    /// The firmware's settings, below the FAT's root.
    pub config: String,
}

/// Turns the content of a plan into bytes that can be referred to.
pub type OpenContent<'a> = &'a dyn Fn(&Content) -> io::Result<Arc<dyn Source>>;

/// What an edit list did.
#[derive(Debug, Default)]
pub struct Applied {
    /// Every name that an edit made, changed or removed, with the digest of its content where the plan knew it.
    pub touched: BTreeMap<(VolumeName, Vec<u8>), Touch>,
    /// Files that got a secret; nothing is told about their content.
    pub secrets: BTreeSet<(VolumeName, Vec<u8>)>,
    /// Bytes by which the root partition grew.
    pub grown: u64,
}

/// How a name was touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touch {
    /// It exists afterwards; the digest of its content as lower-case hex, where known.
    Present(Option<String>),
    /// It is gone.
    Removed,
}

/// Why an edit could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The file system refused.
    #[error("{origin}: cannot {verb} `{at}`")]
    Volume {
        /// Who asked for it.
        origin: Origin,
        /// `write`, `remove`, …
        verb: &'static str,
        /// The path as written.
        at: String,
        /// Why.
        source: FsError,
    },
    /// The volume is not there, the table or the growing failed.
    #[error("{origin}")]
    Image {
        /// Who asked for it.
        origin: Origin,
        /// Why.
        source: ImageError,
    },
    /// A text could not be amended.
    #[error("{origin}: cannot change `{at}`")]
    Amend {
        /// Who asked for it.
        origin: Origin,
        /// The file.
        at: String,
        /// Why.
        source: AmendError,
    },
    /// A payload cannot be read.
    #[error("{origin}: cannot read the content of `{at}`")]
    Content {
        /// Who asked for it.
        origin: Origin,
        /// The path in the image.
        at: String,
        /// Why.
        source: io::Error,
    },
    /// A path that makes no sense on this image.
    #[error("{origin}: `{at}`: {why}")]
    Place {
        /// Who asked for it.
        origin: Origin,
        /// The path as written.
        at: String,
        /// What is wrong and what would be right.
        why: String,
    },
}

/// Carries `edits` out in order, growing the root volume first where the payload, a `grow` edit or the `reserve`
/// (bytes to stay free) asks for it. Nothing reaches the overlay before [`Image::commit`], except the growing.
///
/// # Errors
/// The first edit that cannot be done, by its origin. The image is then of no use; the base is untouched.
pub fn apply(
    image: &mut Image,
    edits: &[Edit],
    places: &Places,
    reserve: u64,
    epoch: Timestamp,
    open: OpenContent<'_>,
) -> Result<Applied, EditError> {
    let mut applied = Applied {
        grown: make_room(image, edits, places, reserve)?,
        ..Applied::default()
    };
    for edit in edits {
        Step {
            image,
            places,
            epoch,
            open,
            edit,
            applied: &mut applied,
        }
        .run()?;
    }
    Ok(applied)
}

fn make_room(image: &mut Image, edits: &[Edit], places: &Places, reserve: u64) -> Result<u64, EditError> {
    let Ok(root) = image.volume(VolumeName::Root) else {
        return Ok(0);
    };
    let wish = grow::wish(edits, reserve);
    let space = root.space();
    let on_root = |at: &ImagePath| grow::on_root(at, places.boot_mount.as_deref());
    let need = grow::need(edits, space.block_size, &on_root);
    let origin = edits
        .iter()
        .find(|e| matches!(e.op, Op::Grow { .. }))
        .map_or_else(
            || Origin {
                file: "growing the root volume to hold the payload".to_owned(),
                line: 0,
            },
            |e| e.origin.clone(),
        );
    let mut grown = 0;
    let mut by = grow::decide(&space, &need, &wish);
    // The estimate of what new groups cost is close but not exact; what is still missing is added.
    for _ in 0..8 {
        if by == 0 {
            return Ok(grown);
        }
        image.grow_root(by).map_err(|source| EditError::Image {
            origin: origin.clone(),
            source,
        })?;
        grown += by;
        let space = image
            .volume(VolumeName::Root)
            .map_err(|source| EditError::Image {
                origin: origin.clone(),
                source,
            })?
            .space();
        let still = grow::Wish { by: 0, ..wish };
        by = grow::decide(&space, &need, &still);
        debug_assert_eq!(by % GROW_STEP, 0);
    }
    Ok(grown)
}

/// One edit being carried out.
struct Step<'a, 'b> {
    image: &'a mut Image,
    places: &'a Places,
    epoch: Timestamp,
    open: OpenContent<'b>,
    edit: &'a Edit,
    applied: &'a mut Applied,
}

fn time(stamp: Timestamp) -> Time {
    Time {
        secs: stamp.secs,
        nanos: stamp.nanos,
    }
}

impl Step<'_, '_> {
    fn run(mut self) -> Result<(), EditError> {
        match &self.edit.op {
            Op::Put {
                at,
                content,
                attributes,
                xattrs,
                sparse,
            } => self.put(at, content, attributes, xattrs, *sparse),
            Op::Dir { at, attributes } => {
                let place = self.place(at, Follow::Parents)?;
                let attrs = self.attrs(attributes);
                self.parents(&place, at)?;
                self.with(&place, "make", at, |v, path| {
                    // A directory may stand behind a symlink (`/lib` on a merged system): that one is meant.
                    let real = match v.stat(path)? {
                        Some(stat) if stat.kind == NodeKind::Symlink => resolve(v, path, Follow::Last)?,
                        _ => path.to_vec(),
                    };
                    v.make_dir(&real, &attrs)
                })?;
                self.touch(&place, None);
                Ok(())
            }
            Op::Symlink { at, to, attributes } => {
                let place = self.place(at, Follow::Parents)?;
                let attrs = self.attrs(attributes);
                self.parents(&place, at)?;
                self.with(&place, "link", at, |v, path| {
                    v.symlink(path, to.as_bytes(), &attrs)
                })?;
                self.touch(&place, None);
                Ok(())
            }
            Op::Hardlink { at, to } => {
                let existing = self.place(to, Follow::Parents)?;
                let place = self.place(at, Follow::Parents)?;
                self.same_volume(&existing, &place, at)?;
                self.parents(&place, at)?;
                let now = time(self.epoch);
                self.with(&place, "link", at, |v, path| v.hard_link(path, &existing.1, now))?;
                self.touch(&place, None);
                Ok(())
            }
            Op::Rename { from, to } => {
                let source = self.place(from, Follow::Parents)?;
                let target = self.place(to, Follow::Parents)?;
                self.same_volume(&source, &target, to)?;
                self.parents(&target, to)?;
                let now = time(self.epoch);
                self.with(&source, "rename", from, |v, path| v.rename(path, &target.1, now))?;
                if self.applied.secrets.remove(&source) {
                    self.applied.secrets.insert(target.clone());
                }
                self.applied.touched.insert(source, Touch::Removed);
                self.touch(&target, None);
                Ok(())
            }
            Op::Append { at, content } => {
                let place = self.place(at, Follow::Last)?;
                let source = self.content(at, content)?;
                let attrs = self.attrs(&Attributes::default());
                self.with(&place, "append to", at, |v, path| v.append(path, &source, &attrs))?;
                self.keep_secret(&place, content);
                self.touch(&place, None);
                Ok(())
            }
            Op::Remove {
                at,
                recursive,
                if_exists,
            } => self.remove(at, *recursive, *if_exists),
            Op::Chmod { at, mode } => self.set(
                at,
                &Attributes {
                    mode: Some(*mode),
                    ..Attributes::default()
                },
            ),
            Op::Chown { at, owner } => self.set(
                at,
                &Attributes {
                    owner: Some(*owner),
                    ..Attributes::default()
                },
            ),
            Op::Mtime { at, mtime } => self.set(
                at,
                &Attributes {
                    mtime: Some(*mtime),
                    ..Attributes::default()
                },
            ),
            Op::Xattrs { at, xattrs } => {
                let place = self.place(at, Follow::Last)?;
                self.xattrs(&place, at, xattrs)?;
                self.touch(&place, None);
                Ok(())
            }
            Op::KernelArgs { add, remove } => {
                let at = self.on_boot(&self.places.cmdline)?;
                self.amend(&at, None, |text| amend::kernel_args(text, add, remove))
            }
            Op::ConfigTxt { section, set, unset } => {
                let at = self.on_boot(&self.places.config)?;
                self.amend(&at, Some(""), |text| amend::config_txt(text, section, set, unset))
            }
            Op::Fstab { mount, line } => {
                let at = self.fixed("root:/etc/fstab")?;
                self.amend(&at, Some(""), |text| amend::fstab(text, mount, line.as_deref()))
            }
            // Done for all edits together, before the first.
            Op::Grow { .. } => Ok(()),
        }
    }

    fn keep_secret(&mut self, place: &(VolumeName, Vec<u8>), content: &Content) {
        if content.is_secret() {
            self.applied.secrets.insert(place.clone());
        }
    }

    fn put(
        &mut self,
        at: &ImagePath,
        content: &Content,
        attributes: &Attributes,
        xattrs: &[Xattr],
        sparse: bool,
    ) -> Result<(), EditError> {
        let place = self.place(at, Follow::Parents)?;
        let source = self.content(at, content)?;
        let attrs = self.attrs(attributes);
        self.parents(&place, at)?;
        self.with(&place, "write", at, |v, path| {
            // A file takes the place of a symlink, as `install` does; it never writes through it.
            if matches!(v.stat(path)?, Some(stat) if stat.kind == NodeKind::Symlink) {
                v.remove(path, false, attrs.now)?;
            }
            v.put_file(path, &source, sparse, &attrs)
        })?;
        self.keep_secret(&place, content);
        self.xattrs(&place, at, xattrs)?;
        self.touch(&place, Some(content.digest().hex()));
        Ok(())
    }

    fn remove(&mut self, at: &ImagePath, recursive: bool, if_exists: bool) -> Result<(), EditError> {
        let place = self.place(at, Follow::Parents)?;
        let now = time(self.epoch);
        let mut gone = false;
        self.with(&place, "remove", at, |v, path| {
            if if_exists && v.stat(path)?.is_none() {
                return Ok(());
            }
            gone = true;
            v.remove(path, recursive, now)
        })?;
        if gone {
            self.applied.touched.insert(place, Touch::Removed);
        }
        Ok(())
    }

    fn set(&mut self, at: &ImagePath, attributes: &Attributes) -> Result<(), EditError> {
        let place = self.place(at, Follow::Last)?;
        let attrs = Attrs {
            mtime: attributes.mtime.map(time),
            ..self.attrs(attributes)
        };
        self.with(&place, "change", at, |v, path| v.set_attrs(path, &attrs))?;
        self.touch(&place, None);
        Ok(())
    }

    fn xattrs(
        &mut self,
        place: &(VolumeName, Vec<u8>),
        at: &ImagePath,
        xattrs: &[Xattr],
    ) -> Result<(), EditError> {
        let now = time(self.epoch);
        for Xattr { name, value } in xattrs {
            self.with(place, "set an attribute of", at, |v, path| {
                v.set_xattr(path, name.as_bytes(), value.as_deref(), now)
            })?;
        }
        Ok(())
    }

    /// Reads a small text, changes it and writes it back when it differs. `absent` stands for a file that is not there.
    fn amend(
        &mut self,
        at: &ImagePath,
        absent: Option<&str>,
        change: impl FnOnce(&str) -> Result<String, AmendError>,
    ) -> Result<(), EditError> {
        let place = self.place(at, Follow::Last)?;
        let mut old = None;
        self.with(&place, "read", at, |v, path| {
            old = match v.stat(path)? {
                Some(_) => Some(tree::read_small(v, path, TEXT_LIMIT)?),
                None => absent.map(|text| text.as_bytes().to_vec()),
            };
            if old.is_none() {
                return Err(FsError::NotFound(show(path)));
            }
            Ok(())
        })?;
        let old = old.unwrap_or_default();
        let wrong = |source| EditError::Amend {
            origin: self.edit.origin.clone(),
            at: at.to_string(),
            source,
        };
        let text = std::str::from_utf8(&old).map_err(|_| wrong(AmendError::NotText))?;
        let new = change(text).map_err(wrong)?;
        if new != text {
            let source = crate::disk::Bytes::shared(new.as_bytes());
            let attrs = self.attrs(&Attributes::default());
            self.with(&place, "write", at, |v, path| {
                v.put_file(path, &source, false, &attrs)
            })?;
            self.touch(&place, None);
        }
        Ok(())
    }

    /// Where a path of the plan lies on this image.
    fn place(&self, at: &ImagePath, follow: Follow) -> Result<(VolumeName, Vec<u8>), EditError> {
        locate(self.image, self.places, at, follow).map_err(|e| e.by(&self.edit.origin, at))
    }

    fn fixed(&self, text: &str) -> Result<ImagePath, EditError> {
        text.parse()
            .map_err(|e: crate::values::ImagePathError| EditError::Place {
                origin: self.edit.origin.clone(),
                at: text.to_owned(),
                why: e.to_string(),
            })
    }

    fn on_boot(&self, path: &str) -> Result<ImagePath, EditError> {
        self.fixed(&format!("boot:{path}"))
    }

    fn content(&self, at: &ImagePath, content: &Content) -> Result<Arc<dyn Source>, EditError> {
        (self.open)(content).map_err(|source| EditError::Content {
            origin: self.edit.origin.clone(),
            at: at.to_string(),
            source,
        })
    }

    fn attrs(&self, attributes: &Attributes) -> Attrs {
        Attrs {
            mode: attributes.mode.map(|m| m.0),
            owner: attributes.owner.map(|o| (o.uid, o.gid)),
            mtime: attributes.mtime.map(time),
            now: time(self.epoch),
        }
    }

    /// Makes the directories above a place that are missing, 0755 and owned by root, as `install -D` does.
    fn parents(&mut self, place: &(VolumeName, Vec<u8>), at: &ImagePath) -> Result<(), EditError> {
        let attrs = self.attrs(&Attributes::default());
        let mut made = Vec::new();
        self.with(place, "make the directories above", at, |v, path| {
            let mut missing = Vec::new();
            let mut end = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
            while end > 0 {
                let parent = &path[..end];
                match v.stat(parent)? {
                    Some(stat) if stat.kind == NodeKind::Dir => break,
                    Some(_) => return Err(FsError::NotADirectory(show(parent))),
                    None => missing.push(parent.to_vec()),
                }
                end = parent.iter().rposition(|b| *b == b'/').unwrap_or(0);
            }
            for parent in missing.into_iter().rev() {
                v.make_dir(&parent, &attrs)?;
                made.push(parent);
            }
            Ok(())
        })?;
        for parent in made {
            self.touch(&(place.0, parent), None);
        }
        Ok(())
    }

    fn same_volume(
        &self,
        a: &(VolumeName, Vec<u8>),
        b: &(VolumeName, Vec<u8>),
        at: &ImagePath,
    ) -> Result<(), EditError> {
        if a.0 == b.0 {
            return Ok(());
        }
        Err(EditError::Place {
            origin: self.edit.origin.clone(),
            at: at.to_string(),
            why: format!("the other name is on the {} volume; both must be on one", a.0),
        })
    }

    fn with<T>(
        &mut self,
        place: &(VolumeName, Vec<u8>),
        verb: &'static str,
        at: &ImagePath,
        act: impl FnOnce(&mut dyn Volume, &[u8]) -> Result<T, FsError>,
    ) -> Result<T, EditError> {
        let origin = &self.edit.origin;
        let volume = self
            .image
            .volume_mut(place.0)
            .map_err(|source| EditError::Image {
                origin: origin.clone(),
                source,
            })?;
        act(volume, &place.1).map_err(|source| EditError::Volume {
            origin: origin.clone(),
            verb,
            at: at.to_string(),
            source,
        })
    }

    fn touch(&mut self, place: &(VolumeName, Vec<u8>), digest: Option<String>) {
        self.applied.touched.insert(place.clone(), Touch::Present(digest));
    }
}

/// Why a path has no place on an image.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The volume is not there.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Symlinks or parents that lead nowhere.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Hidden below a mount point.
    #[error("in the running system `{mount}` is the FAT partition and hides this path; write `boot:{rest}`")]
    Hidden {
        /// The mount point.
        mount: String,
        /// The path on the FAT.
        rest: String,
    },
}

impl PlaceError {
    fn by(self, origin: &Origin, at: &ImagePath) -> EditError {
        let origin = origin.clone();
        match self {
            Self::Image(source) => EditError::Image { origin, source },
            Self::Fs(source) => EditError::Volume {
                origin,
                verb: "reach",
                at: at.to_string(),
                source,
            },
            hidden @ Self::Hidden { .. } => EditError::Place {
                origin,
                at: at.to_string(),
                why: hidden.to_string(),
            },
        }
    }
}

/// The volume and canonical path that a path means on this image: symlinks are followed as a `chroot` would, and
/// plain absolute paths below the FAT's mount point are on the FAT.
///
/// # Errors
/// No such volume, a symlink loop, or a `root:` path that the FAT hides.
pub fn locate(
    image: &Image,
    places: &Places,
    at: &ImagePath,
    follow: Follow,
) -> Result<(VolumeName, Vec<u8>), PlaceError> {
    if at.volume == Some(VolumeName::Boot) {
        return Ok((VolumeName::Boot, at.path().as_bytes().to_vec()));
    }
    let root = image.volume(VolumeName::Root)?;
    let real = resolve(root, at.path().as_bytes(), follow)?;
    let Some(mount) = places
        .boot_mount
        .as_deref()
        .filter(|mount| below(&show(&real), mount))
    else {
        return Ok((VolumeName::Root, real));
    };
    let rest = real.get(mount.len()..).filter(|r| !r.is_empty()).unwrap_or(b"/");
    if at.volume.is_none() {
        return Ok((VolumeName::Boot, rest.to_vec()));
    }
    if rest == b"/" {
        // The mount point itself is a directory of the root volume.
        return Ok((VolumeName::Root, real));
    }
    Err(PlaceError::Hidden {
        mount: mount.to_owned(),
        rest: show(rest),
    })
}
