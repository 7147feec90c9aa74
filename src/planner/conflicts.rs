//! Edits that contradict each other, found before anything is touched.

use std::collections::BTreeMap;

use crate::plan::{Edit, Op, Origin};
use crate::values::{ImagePath, VolumeName};

use super::PlanError;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    File,
    Link,
    Dir { by_tree: bool },
}

type Key = (VolumeName, String);

/// What a path is compared by. A plain path counts as one of the root volume: whether it is on the boot volume is
/// known only from the image. FAT tells no case apart.
fn key(at: &ImagePath) -> Key {
    match at.volume {
        Some(VolumeName::Boot) => (VolumeName::Boot, at.path().to_lowercase()),
        _ => (VolumeName::Root, at.path().to_owned()),
    }
}

/// Refuses a list in which two edits make one path, or one makes a file where another needs a directory. Changing
/// what was made (append, modes, owners, times) is fine, and so is making again what was removed.
pub(super) fn check(edits: &[Edit], from_tree: &[bool]) -> Result<(), PlanError> {
    let mut made: BTreeMap<Key, (Made, &Origin)> = BTreeMap::new();
    for (edit, by_tree) in edits.iter().zip(from_tree) {
        let (at, what) = match &edit.op {
            Op::Put { at, .. } => (at, Made::File),
            Op::Hardlink { at, .. } => (at, Made::File),
            Op::Symlink { at, .. } => (at, Made::Link),
            Op::Dir { at, .. } => (at, Made::Dir { by_tree: *by_tree }),
            Op::Rename { from, to } => {
                forget(&mut made, from);
                (to, Made::Link)
            }
            Op::Remove { at, .. } => {
                forget(&mut made, at);
                continue;
            }
            _ => continue,
        };
        make(&mut made, at, what, &edit.origin)?;
    }
    Ok(())
}

fn make<'e>(
    made: &mut BTreeMap<Key, (Made, &'e Origin)>,
    at: &ImagePath,
    what: Made,
    origin: &'e Origin,
) -> Result<(), PlanError> {
    let key = key(at);
    let clash = |path: &str, first: &Origin| PlanError::FileAndDir {
        path: path.to_owned(),
        first: first.clone(),
        second: origin.clone(),
    };
    if let Some((before, first)) = made.get(&key) {
        let shared = matches!(
            (before, what),
            (Made::Dir { by_tree: true }, Made::Dir { .. }) | (Made::Dir { .. }, Made::Dir { by_tree: true })
        );
        if !shared {
            return Err(PlanError::Twice {
                path: at.to_string(),
                first: (*first).clone(),
                second: origin.clone(),
            });
        }
    }
    let mut end = key.1.len();
    while let Some(slash) = key.1[..end].rfind('/').filter(|slash| *slash > 0) {
        end = slash;
        let parent = (key.0, key.1[..end].to_owned());
        if let Some((Made::File, first)) = made.get(&parent) {
            return Err(clash(&format!("{}:{}", parent.0, parent.1), first));
        }
    }
    if what == Made::File
        && let Some((_, (_, first))) = below(made, &key).next()
    {
        return Err(PlanError::FileAndDir {
            path: at.to_string(),
            first: origin.clone(),
            second: (*first).clone(),
        });
    }
    made.insert(key, (what, origin));
    Ok(())
}

fn below<'m, T>(made: &'m BTreeMap<Key, T>, key: &Key) -> impl Iterator<Item = (&'m Key, &'m T)> {
    let prefix = format!("{}/", key.1.trim_end_matches('/'));
    made.range((key.0, prefix.clone())..)
        .take_while(move |((volume, path), _)| *volume == key.0 && path.starts_with(&prefix))
}

fn forget<T>(made: &mut BTreeMap<Key, T>, at: &ImagePath) {
    let key = key(at);
    let gone: Vec<Key> = below(made, &key).map(|(k, _)| k.clone()).collect();
    for k in gone {
        made.remove(&k);
    }
    made.remove(&key);
}
