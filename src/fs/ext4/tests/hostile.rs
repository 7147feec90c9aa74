//! Damaged and unsupported file systems: refused in words, never a panic, never without an end.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::super::Ext4;
use super::super::checksum::crc32c;
use super::support::*;
use crate::disk::BlockIo;
use crate::fs::{FsError, Volume};

/// A device in memory.
pub(super) struct Memory(pub(super) std::sync::Mutex<Vec<u8>>);

impl BlockIo for Memory {
    fn len(&self) -> u64 {
        self.0.lock().unwrap().len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        let bytes = self.0.lock().unwrap();
        let range = usize::try_from(offset)
            .ok()
            .and_then(|start| Some(start..start.checked_add(buf.len())?));
        let there = range.and_then(|range| bytes.get(range));
        buf.copy_from_slice(there.ok_or_else(crate::disk::eof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        let at = offset as usize;
        match self.0.lock().unwrap().get_mut(at..at + data.len()) {
            Some(place) => place.copy_from_slice(data),
            None => return Err(crate::disk::eof()),
        }
        Ok(())
    }
}

/// Changes the superblock, with a right checksum.
fn patch(base: &Base, at: usize, change: impl Fn(u32) -> u32) -> Result<Ext4, FsError> {
    let file = File::options().read(true).write(true).open(&base.image).unwrap();
    let mut sb = [0; 1024];
    file.read_exact_at(&mut sb, 1024).unwrap();
    let before = sb;
    let value = u32::from_le_bytes(sb[at..at + 4].try_into().unwrap());
    sb[at..at + 4].copy_from_slice(&change(value).to_le_bytes());
    let crc = crc32c(!0, &sb[..1020]);
    sb[1020..].copy_from_slice(&crc.to_le_bytes());
    file.write_all_at(&sb, 1024).unwrap();
    let result = Ext4::open(Disk::open(&base.image));
    file.write_all_at(&before, 1024).unwrap();
    result
}

#[test]
fn every_unknown_feature_is_refused_by_name() {
    let Some(base) = make("bookworm", 16, &[]) else {
        return;
    };
    let known = [
        (0x5C, 0x143Cu32, "sparse_super2"),
        (0x60, 0x62C2 | 0x4, "meta_bg"),
        (0x64, 0x1047B, "bigalloc"),
    ];
    for (at, known, example) in known {
        let mut seen = String::new();
        for bit in 0..32 {
            if known >> bit & 1 == 1 {
                continue;
            }
            match patch(&base, at, |v| v | 1 << bit) {
                Err(FsError::Unsupported(why)) => seen += &format!("{why}\n"),
                other => panic!("bit {bit} of {at:#x}: {other:?}"),
            }
        }
        assert!(seen.contains(&format!("feature {example}\n")), "{seen}");
    }
    for (at, bit, advice) in [
        (0x60, 0x4, "e2fsck"),
        (0x64, 0x10000, "e2fsck"),
        (0xE8, 12, "e2fsck"),
    ] {
        let why = patch(&base, at, |v| v | bit).unwrap_err();
        assert!(
            matches!(&why, FsError::Unsupported(w) if w.contains(advice)),
            "{why}"
        );
    }
    // s_state shares its word with s_magic: clean is off, then errors is on.
    for state in [0u32, 3] {
        let why = patch(&base, 0x38, |v| v & 0xFFFF | state << 16).unwrap_err();
        assert!(
            matches!(&why, FsError::Unsupported(w) if w.contains("clean")),
            "{why}"
        );
    }
    for (at, value) in [
        (0x20, 3),
        (0x28, 0),
        (0x04, u32::MAX),
        (0x58, 100),
        (0x18, 9),
        (0xCC, u32::MAX),
    ] {
        assert!(patch(&base, at, |_| value).is_err(), "{at:#x}");
    }
    assert!(patch(&base, 0x38, |v| v).is_ok());
}

#[test]
fn a_window_too_short_is_damaged() {
    let Some(base) = make("bookworm", 16, &[]) else {
        return;
    };
    let file = File::options().write(true).open(&base.image).unwrap();
    file.set_len((16 << 20) - 1).unwrap();
    let why = Ext4::open(Disk::open(&base.image)).unwrap_err();
    assert!(matches!(why, FsError::Damaged(_)), "{why}");
}

/// Flipped bytes in metadata, with checksums and without: any error will do, and a commit need not be right.
#[test]
fn flipped_bytes_do_no_harm() {
    for layout in ["bookworm", "buster"] {
        let Some((good, places)) = to_be_damaged(layout) else {
            return;
        };
        let mut random = Random(99);
        let a = attrs(0o644, 3);
        for _ in 0..seeds(300) {
            let mut bytes = good.clone();
            for _ in 0..1 + random.below(4) {
                let at = places[random.below(places.len() as u64) as usize];
                bytes[at] = random.next() as u8;
            }
            let Ok(mut fs) = Ext4::open(Arc::new(Memory(bytes.into()))) else {
                continue;
            };
            for path in [&b"/"[..], b"/d0", b"/d1", b"/d2"] {
                let _ = fs.read_dir(path);
                let _ = fs.xattrs(path);
            }
            if let Ok(content) = fs.open(b"/gaps") {
                let mut buf = vec![0; content.len().min(200_000) as usize];
                let _ = content.read_at(0, &mut buf);
            }
            let _ = fs.put_file(b"/d0/new", &source(&[2; 5000]), false, &a);
            let _ = fs.append(b"/gaps", &source(&[2; 5000]), &a);
            let _ = fs.set_xattr(b"/d1", b"user.x", None, a.now);
            let _ = fs.remove(b"/d1", true, a.now);
            let _ = fs.check();
            let _ = fs.used_ranges();
            let _ = fs.commit();
        }
    }
}
