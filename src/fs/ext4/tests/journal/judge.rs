//! Images as a power cut leaves them, and the two that recover them besides us.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::super::super::journal::replay_only;
use super::super::super::{Ext4, check, recover};
use super::super::support::*;
use crate::fs::Recovery;

/// Bytes of the superblock that tell of the run and not of the file system: `s_wtime`, `s_lastcheck`,
/// `s_kbytes_written`, `s_wtime_hi`, and `s_checksum` over them.
const OF_THE_RUN: [(usize, usize); 5] = [(0x30, 4), (0x40, 4), (0x178, 8), (0x274, 1), (0x3FC, 4)];

/// A place without a disk below it, where there is one: these tests flush a lot.
fn quick() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// A fresh file system, as [`make`] makes it, at such a place.
pub(super) fn fresh(layout: &str, mib: u64, more: &[&str]) -> Option<Base> {
    let base = make(layout, mib, more)?;
    let dir = quick();
    let image = dir.path().join("image");
    copy(&base.image, &image);
    Some(Base { dir, image, ..base })
}

/// An image that was copied while it was mounted.
pub(super) struct Dirty {
    dir: tempfile::TempDir,
    pub(super) image: PathBuf,
}

/// Copies the image while the kernel has it mounted, after everything that `work` did is committed. What `work` gives
/// (open files) is kept until then. `None` without the right to mount.
pub(super) fn cut_power<T>(base: &Base, options: &str, work: impl FnOnce(&Path) -> T) -> Option<Dirty> {
    let dirty = Dirty::of(base);
    // Nothing of the kernel's own making is to be committed while the copy is made.
    let options = format!("{options},commit=300,noinit_itable");
    let mounted = base.mounted(&options, |root| {
        let kept = work(root);
        commit(root);
        copy(&base.image, &dirty.image);
        drop(kept);
    });
    mounted.then_some(dirty)
}

/// Commits the running transaction without writing it back.
pub(super) fn commit(root: &Path) {
    rustix::fs::syncfs(File::open(root).unwrap()).unwrap();
}

fn copy(from: &Path, to: &Path) {
    let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());
    let (code, text) = run("cp", &["--sparse=always", "--reflink=never", from, to]).unwrap();
    assert_eq!(code, 0, "{text}");
}

/// `e2fsck`, or the one that `CEIL_E2FSCK` names.
fn e2fsck(args: &[&str]) -> (i32, String) {
    let program = std::env::var("CEIL_E2FSCK").unwrap_or_else(|_| "e2fsck".to_owned());
    run(&program, args).unwrap()
}

impl Dirty {
    /// A copy of the image as it is.
    pub(super) fn of(base: &Base) -> Self {
        Self::at(&base.image)
    }

    /// The same of a file.
    pub(super) fn at(path: &Path) -> Self {
        let dir = quick();
        let image = dir.path().join("dirty");
        copy(path, &image);
        Self { dir, image }
    }

    /// The bytes of one of the copies that were worked on.
    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.dir.path().join(name)).unwrap()
    }

    /// A copy to work on.
    pub(super) fn copy(&self, name: &str) -> PathBuf {
        let to = self.dir.path().join(name);
        copy(&self.image, &to);
        to
    }

    /// Our replay against that of e2fsck, byte for byte. Where there may be orphans, which e2fsck cleans up in the
    /// same run, that of debugfs is taken, which is the same code. `None` when we refuse; where e2fsck cannot replay, we
    /// must.
    pub(super) fn replays_as_e2fsck(&self, what: &str) -> Option<Recovery> {
        let ours = self.copy("ours");
        let theirs = self.copy("theirs");
        let result = replay_only(&Disk::open(&ours));
        let recovery = match result {
            Ok(recovery) => recovery,
            Err(error) => {
                assert!(
                    fs::read(&self.image).unwrap() == fs::read(&ours).unwrap(),
                    "{what}: refused, and changed: {error}"
                );
                eprintln!("{what}: {error}");
                return None;
            }
        };
        let (code, mut text) = e2fsck(&["-y", "-E", "journal_only", theirs.to_str().unwrap()]);
        assert!(
            code & !1 == 0 && !text.contains("orrupt"),
            "{what}: e2fsck replays with {code}, we had {recovery:?}:\n{text}"
        );
        if text.contains("orphan") || dump(&ours).contains("orphan_present") {
            copy(&self.image, &theirs);
            text = debugfs(&theirs, "journal_run\n");
        }
        let (mut a, mut b) = (fs::read(&ours).unwrap(), fs::read(&theirs).unwrap());
        for image in [&mut a, &mut b] {
            for (at, len) in OF_THE_RUN {
                image[1024 + at..1024 + at + len].fill(0);
            }
        }
        let different: Vec<String> = (0..a.len())
            .filter(|at| a[*at] != b[*at])
            .take(20)
            .map(|at| format!("{at:#x}: {:02x} {:02x}", a[at], b[at]))
            .collect();
        assert!(
            different.is_empty(),
            "{what}: ours, theirs: {different:?}\n{text}"
        );
        Some(recovery)
    }

    /// Our recovery: sound for e2fsck and for our own check, and with the files that the kernel sees after its own
    /// recovery. `hide` takes out what may differ. Gives what was done.
    pub(super) fn recovers_as_the_kernel(
        &self,
        what: &str,
        hide: impl Fn(&mut BTreeMap<Vec<u8>, Seen>),
    ) -> Recovery {
        let ours = self.copy("ours");
        let before = fs::read(&ours).unwrap();
        assert_eq!(
            check(&Disk::open(&ours)).unwrap(),
            [],
            "{what}: the recovered state"
        );
        assert!(before == fs::read(&ours).unwrap(), "{what}: a check writes");
        let recovery = recover(&Disk::open(&ours)).unwrap().expect("a dirty image");
        assert_eq!(
            recover(&Disk::open(&ours)).unwrap(),
            None,
            "{what}: a second time"
        );
        fsck(&ours, what);
        assert_eq!(check(&Disk::open(&ours)).unwrap(), [], "{what}");
        let seen = our_view(&Ext4::open(Disk::open(&ours)).unwrap());
        let theirs = Base {
            dir: quick(),
            image: self.copy("theirs"),
            short_times: false,
        };
        // Orphans are deleted with the right to write.
        if !theirs.mounted("rw", |_| {}) {
            return recovery;
        }
        let mut expected = theirs.kernel_view().unwrap();
        let after = Base {
            dir: quick(),
            image: ours,
            short_times: false,
        };
        let mut found = after.kernel_view().unwrap();
        same(&format!("{what}: our reader"), &found, &seen);
        hide(&mut expected);
        hide(&mut found);
        same(&format!("{what}: the kernel's recovery"), &expected, &found);
        after.fsck(&format!("{what}: after the kernel mounted it"));
        recovery
    }
}

/// A number that debugfs answers with.
pub(super) fn ask(image: &Path, command: &str) -> u64 {
    let (_, text) = run("debugfs", &["-R", command, image.to_str().unwrap()]).unwrap();
    let number = text
        .lines()
        .filter(|line| !line.starts_with("debugfs"))
        .find_map(|line| line.split_whitespace().next_back()?.parse().ok());
    number.unwrap_or_else(|| panic!("{command}: {text}"))
}

/// What `dumpe2fs -h` says.
pub(super) fn dump(image: &Path) -> String {
    run("dumpe2fs", &["-h", image.to_str().unwrap()]).unwrap().1
}

/// Runs a script of debugfs that may write.
pub(super) fn debugfs(image: &Path, script: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), script).unwrap();
    let script = file.path().to_str().unwrap();
    let (code, text) = run("debugfs", &["-w", "-f", script, image.to_str().unwrap()]).unwrap();
    assert_eq!(code, 0, "{text}");
    text
}
