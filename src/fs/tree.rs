//! A neutral listing of a volume, for `ls`, `diff` and the manifest.

use super::{DirEntry, FsError, FsResult, NodeKind, Stat, Volume, show};

/// Directories nested deeper than this are taken for a loop in a damaged file system.
const MAX_DEPTH: usize = 512;

/// What [`walk`] calls for every node, with its full path.
pub type Visit<'a, E> = &'a mut dyn FnMut(&[u8], &Stat) -> Result<(), E>;

/// Visits every node below `top` (not `top` itself) in byte order of the full path, parents first.
///
/// # Errors
/// What the volume or `visit` answers; [`FsError::Damaged`] when directories are nested without end.
pub fn walk<E: From<FsError>>(volume: &dyn Volume, top: &[u8], visit: Visit<'_, E>) -> Result<(), E> {
    fn level<E: From<FsError>>(
        volume: &dyn Volume,
        path: &mut Vec<u8>,
        depth: usize,
        visit: Visit<'_, E>,
    ) -> Result<(), E> {
        if depth > MAX_DEPTH {
            return Err(FsError::Damaged(format!("directories nest without end at `{}`", show(path))).into());
        }
        let here = if path.is_empty() {
            b"/".to_vec()
        } else {
            path.clone()
        };
        for DirEntry { name, stat } in volume.read_dir(&here)? {
            // A name that is a path could lead whoever extracts it anywhere.
            if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') {
                return Err(FsError::Damaged(format!(
                    "directory `{}` holds the name `{}`",
                    show(&here),
                    show(&name)
                ))
                .into());
            }
            let len = path.len();
            path.push(b'/');
            path.extend_from_slice(&name);
            visit(path, &stat)?;
            if stat.kind == NodeKind::Dir {
                level(volume, path, depth + 1, visit)?;
            }
            path.truncate(len);
        }
        Ok(())
    }
    let mut path = if top == b"/" { Vec::new() } else { top.to_vec() };
    level(volume, &mut path, 0, visit)
}

/// The whole content of a small file.
///
/// # Errors
/// [`FsError::Invalid`] when it is longer than `limit` bytes.
pub fn read_small(volume: &dyn Volume, path: &[u8], limit: u64) -> FsResult<Vec<u8>> {
    let source = volume.open(path)?;
    if source.len() > limit {
        return Err(FsError::Invalid {
            path: show(path),
            why: format!("it has {} bytes where at most {limit} are expected", source.len()),
        });
    }
    let mut bytes = vec![0; source.len() as usize];
    source.read_at(0, &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::ext4::{Ext4Features, Ext4Options, format};
    use super::super::{Attrs, Volume as _};
    use super::*;
    use crate::disk::{BlockIo, Bytes, Overlay};

    /// A directory entry that is a path would make `extract` write outside its folder.
    #[test]
    fn names_that_are_paths_are_damage() {
        let overlay = Arc::new(Overlay::new(Bytes::shared(&vec![0; 16 << 20])));
        let io: Arc<dyn BlockIo> = overlay.clone();
        let options = Ext4Options {
            features: Ext4Features::Buster,
            ..Ext4Options::default()
        };
        let mut volume = format(Arc::clone(&io), &options).expect("format");
        let attrs = Attrs::default();
        let content = Bytes::shared(b"x");
        volume
            .put_file(b"/name-to-find", &content, false, &attrs)
            .expect("put");
        volume.commit().expect("commit");
        let mut bytes = vec![0; 16 << 20];
        io.read_at(0, &mut bytes).expect("read");
        let at = bytes
            .windows(12)
            .position(|w| w == b"name-to-find")
            .expect("entry");
        io.write_at(at as u64, b"../../to/win").expect("patch");
        let volume = super::super::open(io).expect("open");
        let walked = walk::<FsError>(&*volume, b"/", &mut |_, _| Ok(()));
        assert!(
            matches!(walked, Err(FsError::Damaged(_))),
            "a name with a slash was passed on: {walked:?}"
        );
    }
}
