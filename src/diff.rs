//! What differs between two images, by content: the tables, the volumes, every file.
//!
//! This room reads images. It must not know plans or host files. Times and the sizes of directories are not
//! compared: they follow from the changes that are.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::io;

use serde::Serialize;

use crate::disk::{BlockIo, PIECE, in_pieces};
use crate::fs::{FsError, NodeKind, Stat, Volume, show, tree};
use crate::image::{Image, ImageError};
use crate::values::{DigestKind, Hasher, VolumeName, hex};

/// One side of a difference: a node as it is in one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Side {
    /// `file`, `directory`, `symlink`, …
    pub kind: String,
    /// Octal permission bits.
    pub mode: String,
    /// `uid:gid`.
    pub owner: String,
    /// Length in bytes; absent for a directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// SHA-256 of a file's content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Target of a symlink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Extended attributes, values in hexadecimal.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
}

/// How a thing differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Only in the second image.
    Added,
    /// Only in the first image.
    Removed,
    /// In both, not the same.
    Changed,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        })
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Difference {
    /// Of a file, directory or link.
    Path {
        /// How.
        change: Change,
        /// `boot:/…` or `root:/…`.
        path: String,
        /// As it is in the first image.
        #[serde(skip_serializing_if = "Option::is_none")]
        old: Option<Box<Side>>,
        /// As it is in the second image.
        #[serde(skip_serializing_if = "Option::is_none")]
        new: Option<Box<Side>>,
    },
    /// Of a property of the table or of a volume.
    Property {
        /// How.
        change: Change,
        /// `image size`, `partition 2 size`, `root label`, …
        property: String,
        /// In the first image.
        #[serde(skip_serializing_if = "Option::is_none")]
        old: Option<String>,
        /// In the second image.
        #[serde(skip_serializing_if = "Option::is_none")]
        new: Option<String>,
    },
}

/// Why two images cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// One of them.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A volume.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Content could not be read.
    #[error("cannot read `{path}`")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// Every difference: properties first, then paths of the boot volume, then of the root volume, each in byte order.
///
/// # Errors
/// An image that cannot be read.
pub fn diff(old: &Image, new: &Image) -> Result<Vec<Difference>, DiffError> {
    let mut found = Vec::new();
    properties(&facts(old), &facts(new), &mut found);
    for name in [VolumeName::Boot, VolumeName::Root] {
        match (old.volume(name), new.volume(name)) {
            (Ok(a), Ok(b)) => {
                attributes(name, b"/", (a, b), &mut found)?;
                level(name, &mut Vec::new(), a, b, &mut found)?;
            }
            // A volume that is missing on one side already shows among the properties.
            (Err(_), Err(_)) | (Err(_), Ok(_)) | (Ok(_), Err(_)) => {}
        }
    }
    Ok(found)
}

fn facts(image: &Image) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let mut add = |name: String, value: String| {
        facts.insert(name, value);
    };
    add("image size".into(), BlockIo::len(&*image.overlay).to_string());
    add(
        "table kind".into(),
        format!("{:?}", image.table.kind).to_lowercase(),
    );
    add("disk id".into(), image.table.disk_id.clone());
    for partition in &image.table.partitions {
        let number = partition.number;
        add(format!("partition {number} start"), partition.start.to_string());
        add(format!("partition {number} size"), partition.len.to_string());
        add(format!("partition {number} type"), partition.kind.clone());
        add(format!("partition {number} uuid"), partition.partuuid.clone());
        add(format!("partition {number} name"), partition.name.clone());
    }
    for name in [VolumeName::Boot, VolumeName::Root] {
        if let Ok(volume) = image.volume(name) {
            add(format!("{name} file system"), volume.kind().to_owned());
            add(format!("{name} label"), volume.label());
            add(format!("{name} uuid"), volume.uuid());
            add(format!("{name} features"), volume.features().join(" "));
            add(format!("{name} size"), volume.space().total.to_string());
        }
    }
    facts
}

fn properties(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>, found: &mut Vec<Difference>) {
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let (a, b) = (old.get(name), new.get(name));
        let change = match (a, b) {
            (Some(a), Some(b)) if a == b => continue,
            (Some(_), Some(_)) => Change::Changed,
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
        };
        found.push(Difference::Property {
            change,
            property: name.clone(),
            old: a.cloned(),
            new: b.cloned(),
        });
    }
}

/// The same directory in both images.
fn level(
    name: VolumeName,
    path: &mut Vec<u8>,
    old: &dyn Volume,
    new: &dyn Volume,
    found: &mut Vec<Difference>,
) -> Result<(), DiffError> {
    let here = if path.is_empty() {
        b"/".as_slice()
    } else {
        path.as_slice()
    };
    let (a, b) = (old.read_dir(here)?, new.read_dir(here)?);
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        let order = match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) => x.name.cmp(&y.name),
            (Some(_), None) => Ordering::Less,
            _ => Ordering::Greater,
        };
        let entry = if order == Ordering::Greater { &b[j] } else { &a[i] };
        let len = path.len();
        path.push(b'/');
        path.extend_from_slice(&entry.name);
        match order {
            Ordering::Less => {
                one_sided(name, path, old, &a[i].stat, Change::Removed, found)?;
                i += 1;
            }
            Ordering::Greater => {
                one_sided(name, path, new, &b[j].stat, Change::Added, found)?;
                j += 1;
            }
            Ordering::Equal => {
                attributes(name, path, (old, new), found)?;
                if a[i].stat.kind == NodeKind::Dir && b[j].stat.kind == NodeKind::Dir {
                    level(name, path, old, new, found)?;
                }
                i += 1;
                j += 1;
            }
        }
        path.truncate(len);
    }
    Ok(())
}

fn one_sided(
    name: VolumeName,
    path: &[u8],
    volume: &dyn Volume,
    stat: &Stat,
    change: Change,
    found: &mut Vec<Difference>,
) -> Result<(), DiffError> {
    let mut push = |path: &[u8], stat: &Stat| -> Result<(), DiffError> {
        let side = Some(Box::new(side(volume, path, stat, true)?));
        let (old, new) = match change {
            Change::Removed => (side, None),
            _ => (None, side),
        };
        found.push(Difference::Path {
            change,
            path: format!("{name}:{}", show(path)),
            old,
            new,
        });
        Ok(())
    };
    push(path, stat)?;
    if stat.kind == NodeKind::Dir {
        tree::walk(volume, path, &mut push)?;
    }
    Ok(())
}

/// Compares one node that is in both images.
fn attributes(
    name: VolumeName,
    path: &[u8],
    (old, new): (&dyn Volume, &dyn Volume),
    found: &mut Vec<Difference>,
) -> Result<(), DiffError> {
    let missing = || FsError::Damaged(format!("`{}` is listed but not there", show(path)));
    let a = old.stat(path)?.ok_or_else(missing)?;
    let b = new.stat(path)?.ok_or_else(missing)?;
    let both_files = a.kind == NodeKind::File && b.kind == NodeKind::File;
    let (x, y) = (side(old, path, &a, false)?, side(new, path, &b, false)?);
    if x == y && !(both_files && content_differs(old, new, path)?) {
        return Ok(());
    }
    found.push(Difference::Path {
        change: Change::Changed,
        path: format!("{name}:{}", show(path)),
        old: Some(Box::new(side(old, path, &a, true)?)),
        new: Some(Box::new(side(new, path, &b, true)?)),
    });
    Ok(())
}

fn side(volume: &dyn Volume, path: &[u8], stat: &Stat, with_digest: bool) -> Result<Side, DiffError> {
    Ok(Side {
        kind: stat.kind.to_string(),
        mode: format!("{:04o}", stat.mode),
        owner: format!("{}:{}", stat.uid, stat.gid),
        size: (stat.kind != NodeKind::Dir).then_some(stat.size),
        digest: if with_digest && stat.kind == NodeKind::File {
            Some(digest(volume, path)?)
        } else {
            None
        },
        target: if stat.kind == NodeKind::Symlink {
            Some(show(&volume.read_link(path)?))
        } else {
            None
        },
        xattrs: volume
            .xattrs(path)?
            .iter()
            .map(|(name, value)| (show(name), hex(value)))
            .collect(),
    })
}

fn unread(path: &[u8]) -> impl Fn(io::Error) -> DiffError {
    move |source| DiffError::Read {
        path: show(path),
        source,
    }
}

fn content_differs(old: &dyn Volume, new: &dyn Volume, path: &[u8]) -> Result<bool, DiffError> {
    let (a, b) = (old.open(path)?, new.open(path)?);
    if a.len() != b.len() {
        return Ok(true);
    }
    let mut differs = false;
    let mut other = vec![0; b.len().min(PIECE as u64) as usize];
    in_pieces(&*a, 0..a.len(), |at, bytes| {
        let other = &mut other[..bytes.len()];
        b.read_at(at, other)?;
        differs = other != bytes;
        Ok(!differs)
    })
    .map_err(unread(path))?;
    Ok(differs)
}

/// SHA-256 of a file in an image, in lower-case hex.
///
/// # Errors
/// It cannot be read.
pub fn digest(volume: &dyn Volume, path: &[u8]) -> Result<String, DiffError> {
    let mut hasher = Hasher::new(DigestKind::Sha256);
    let content = volume.open(path)?;
    in_pieces(&*content, 0..content.len(), |_, bytes| {
        hasher.update(bytes);
        Ok(true)
    })
    .map_err(unread(path))?;
    Ok(hasher.finish().hex())
}
