//! Paths through the image's own symlinks, as a `chroot` would take them: never out of the volume.

use super::{FsError, FsResult, NodeKind, Volume, show};

/// Whether a symlink at the end of a path is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// As `open` does: the last component is followed too.
    Last,
    /// As `lstat` does: only the parents are followed.
    Parents,
}

/// Linux's limit (`MAXSYMLINKS`).
const MAX_SYMLINKS: usize = 40;

/// The canonical path of `path`: every symlink among its parents (and at its end, with [`Follow::Last`])
/// replaced by what it points to, absolute targets taken from the root of the volume, `..` never above it.
/// Components that do not exist are kept as they are, so the result may name a node yet to be made.
///
/// # Errors
/// [`FsError::SymlinkLoop`] after 40 links, [`FsError::NotADirectory`] when a parent is a file.
pub fn resolve(volume: &dyn Volume, path: &[u8], follow: Follow) -> FsResult<Vec<u8>> {
    let mut pending: Vec<Vec<u8>> = components(path).rev().collect();
    let mut done: Vec<u8> = Vec::with_capacity(path.len());
    let mut links = 0;
    while let Some(component) = pending.pop() {
        if component == b".." {
            done.truncate(done.iter().rposition(|b| *b == b'/').unwrap_or(0));
            continue;
        }
        let parent_len = done.len();
        done.push(b'/');
        done.extend_from_slice(&component);
        let Some(stat) = volume.stat(&done)? else {
            // Nothing below a name that does not exist can be a link.
            continue;
        };
        let last = pending.is_empty();
        match stat.kind {
            NodeKind::Symlink if !last || follow == Follow::Last => {
                links += 1;
                if links > MAX_SYMLINKS {
                    return Err(FsError::SymlinkLoop(show(path)));
                }
                let target = volume.read_link(&done)?;
                done.truncate(if target.first() == Some(&b'/') {
                    0
                } else {
                    parent_len
                });
                pending.extend(components(&target).rev());
            }
            NodeKind::Dir => {}
            _ if last => {}
            _ => return Err(FsError::NotADirectory(show(&done))),
        }
    }
    if done.is_empty() {
        done.push(b'/');
    }
    Ok(done)
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> + '_ {
    path.split(|b| *b == b'/')
        .filter(|c| !c.is_empty() && *c != b".")
        .map(<[u8]>::to_vec)
}
