//! What a user would do with a volume, and what must hold whatever the volume is: it ends without a panic, and a
//! volume without findings keeps taking edits and stays without findings.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use ceil_img::disk::dump::{Line, Section, Sink, Totals};
use ceil_img::disk::{BlockIo, Bytes, Overlay, Source};
use ceil_img::fs::{Attrs, Finding, FsError, FsResult, NodeKind, Time, Volume, tree};

/// Nodes that a walk visits: a damaged directory may name a few for ever.
const NODES: u32 = 500;

/// Whether a check found nothing. `None` when the volume is not understood.
pub type Clean = Option<bool>;

/// Answers the question of a check.
pub fn clean(found: &FsResult<Vec<Finding>>) -> Clean {
    match found {
        Ok(found) => Some(found.is_empty()),
        Err(FsError::Unsupported(_)) => None,
        Err(error) => panic!("a check of a device in memory fails: {error}"),
    }
}

/// Takes a dump and throws it away.
struct Nowhere;

impl Sink for Nowhere {
    fn section(&mut self, _: &Section) -> io::Result<()> {
        Ok(())
    }

    fn line(&mut self, _: &Line<'_>) -> io::Result<()> {
        Ok(())
    }

    fn total(&mut self, _: &str, _: u64) -> io::Result<()> {
        Ok(())
    }
}

/// Explains every byte of a volume, each once.
pub fn explain(io: &dyn BlockIo, dump: fn(&dyn BlockIo, &mut dyn Sink) -> io::Result<Totals>) {
    let totals = dump(io, &mut Nowhere).expect("a device in memory is read");
    assert_eq!(totals.sum(), io.len(), "a dump does not account for every byte");
}

/// Reads everything there is.
pub fn look(volume: &dyn Volume) {
    let mut left = NODES;
    let mut buf = [0; 512];
    let mut seen = BTreeSet::new();
    let _ = tree::walk(volume, b"/", &mut |path, stat| {
        left = left
            .checked_sub(1)
            .ok_or_else(|| FsError::Damaged("enough".to_owned()))?;
        // Further names of a node show nothing new.
        if !seen.insert(stat.id) {
            return Ok(());
        }
        let _ = volume.xattrs(path);
        match stat.kind {
            NodeKind::File => {
                if let Ok(source) = volume.open(path) {
                    let len = source.len().min(512) as usize;
                    let _ = source.read_at(0, &mut buf[..len]);
                    let _ = source.read_at(source.len() - len as u64, &mut buf[..len]);
                    let _ = source.next_data(0);
                }
            }
            NodeKind::Symlink => drop(volume.read_link(path)),
            _ => {}
        }
        Ok::<(), FsError>(())
    });
    let _ = volume.used_ranges();
    let _ = volume.space();
    let _ = volume.features();
}

/// Carries out the edits that `which` selects, and commits. A clean volume must not be called damaged on the way.
pub fn edit(volume: &mut dyn Volume, which: u16, clean: bool) -> bool {
    let attrs = Attrs {
        now: Time {
            secs: 1_700_000_100,
            nanos: 0,
        },
        ..Attrs::default()
    };
    let now = attrs.now;
    let content = Bytes::shared(&[0x5a; 5000]);
    let mut holes = vec![0; 20_000];
    holes[9000] = 1;
    let holes = Bytes::shared(&holes);
    let fresh = b"/dir/a fresh name".as_slice();
    type Step<'a> = &'a dyn Fn(&mut dyn Volume) -> FsResult<()>;
    let steps: [Step; 16] = [
        &|v| v.put_file(fresh, &content, false, &attrs),
        &|v| v.put_file(b"/file", &content, false, &attrs),
        &|v| v.append(b"/holes", &content, &attrs),
        &|v| v.set_xattr(b"/attrs", b"user.large", Some(&[7; 500]), now),
        &|v| v.set_xattr(b"/attrs", b"user.small", None, now),
        &|v| v.rename(b"/attrs", b"/hashed/attrs", now),
        &|v| v.make_dir(b"/hashed/more", &attrs),
        &|v| v.symlink(b"/slow", &[b'x'; 100], &attrs),
        &|v| v.hard_link(b"/hashed/link", b"/file", now),
        &|v| v.remove(b"/hashed/another name of file 33", false, now),
        &|v| v.remove(b"/dir/sub", true, now),
        &|v| v.remove(b"/holes", false, now),
        &|v| v.remove(b"/hashed", true, now),
        &|v| v.put_file(b"/holes", &holes, true, &attrs),
        &|v| v.append(b"/dir/sub/deep", &content, &attrs),
        &|v| v.append(b"/deep", &content, &attrs),
    ];
    let mut wrote = false;
    for (n, step) in steps.iter().enumerate() {
        if which >> n & 1 == 0 {
            continue;
        }
        let done = step(volume);
        if let Err(FsError::Damaged(what)) = &done {
            assert!(!clean, "step {n} on a volume without findings: {what}");
        }
        wrote = if n == 0 { done.is_ok() } else { wrote };
    }
    match volume.commit() {
        Ok(()) => {}
        Err(error) => {
            assert!(!clean, "committing to a volume without findings: {error}");
            return false;
        }
    }
    if clean && wrote {
        let read = volume.open(fresh).and_then(|source| {
            let mut bytes = vec![0; source.len() as usize];
            source.read_at(0, &mut bytes)?;
            Ok(bytes)
        });
        assert_eq!(read.expect("a new file opens"), [0x5a; 5000]);
    }
    true
}

/// Grows by a bit more than the volume has, and commits.
pub fn grow(overlay: &Arc<Overlay>, volume: &mut dyn Volume, clean: bool) -> bool {
    let len = BlockIo::len(&**overlay);
    overlay.set_len(len + len / 2 + (64 << 10));
    let device: Arc<dyn BlockIo> = overlay.clone();
    match volume.grow(device).and_then(|()| volume.commit()) {
        Ok(()) => true,
        Err(FsError::Damaged(what)) => {
            assert!(!clean, "growing a volume without findings: {what}");
            false
        }
        Err(_) => false,
    }
}

/// An overlay over a base.
pub fn overlay(base: &Arc<dyn Source>) -> Arc<Overlay> {
    Arc::new(Overlay::new(Arc::clone(base)))
}

/// Nothing may be found in what was without findings before.
pub fn still_clean(what: &str, found: FsResult<Vec<Finding>>) {
    let found = found.expect("a volume that was checked before is checked again");
    let text: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(text.is_empty(), "{what} made findings: {text:#?}");
}
