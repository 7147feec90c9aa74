//! Every layout through one list of operations.

use super::model::Model;
use super::support::*;
use crate::fs::{Attrs, FsError, Volume};

pub(super) const NOW: i64 = 1_700_000_000;

/// An editor and the model of it, side by side.
pub(super) struct Both {
    pub(super) fs: super::super::Ext4,
    pub(super) model: Model,
}

impl Both {
    pub(super) fn put(&mut self, path: &[u8], content: &[u8], sparse: bool, attrs: &Attrs) {
        self.fs.put_file(path, &source(content), sparse, attrs).unwrap();
        self.model.put(path, content, attrs);
    }

    pub(super) fn append(&mut self, path: &[u8], content: &[u8]) {
        let attrs = Attrs {
            now: at(NOW + 9),
            ..Attrs::default()
        };
        self.fs.append(path, &source(content), &attrs).unwrap();
        self.model.append(path, content, &attrs);
    }

    fn dir(&mut self, path: &[u8]) {
        self.fs.make_dir(path, &attrs(0o755, NOW)).unwrap();
        self.model.make_dir(path, &attrs(0o755, NOW));
    }

    pub(super) fn xattr(&mut self, path: &[u8], name: &[u8], value: Option<&[u8]>) {
        self.fs.set_xattr(path, name, value, at(NOW)).unwrap();
        self.model.set_xattr(path, name, value);
    }

    pub(super) fn remove(&mut self, path: &[u8]) {
        self.fs.remove(path, true, at(NOW + 7)).unwrap();
        self.model.remove(path, at(NOW + 7));
    }
}

/// The tree a base gets from the kernel, before it is edited.
pub(super) fn fill(root: &std::path::Path) {
    use std::fs;
    for d in 0..6 {
        let dir = root.join(format!("old{d}"));
        fs::create_dir(&dir).unwrap();
        for f in 0..60 {
            fs::write(dir.join(format!("fïle-{f:03}")), vec![f as u8; f * 331]).unwrap();
        }
    }
    let many = root.join("many");
    fs::create_dir(&many).unwrap();
    for f in 0..700 {
        fs::write(many.join(format!("entry-with-a-longer-name-{f}")), b"").unwrap();
    }
    let _ = run(
        "setfattr",
        &[
            "-n",
            "user.old",
            "-v",
            "kept",
            root.join("old1/fïle-007").to_str().unwrap(),
        ],
    );
    let _ = run(
        "setfacl",
        &["-m", "u:1000:r", root.join("old1/fïle-008").to_str().unwrap()],
    );
    let _ = run(
        "fallocate",
        &["-l", "40000", root.join("old2/prealloc").to_str().unwrap()],
    );
    let _ = run(
        "fallocate",
        &["-n", "-l", "90000", root.join("old2/keepsize").to_str().unwrap()],
    );
    let sparse = fs::File::create(root.join("old2/sparse")).unwrap();
    sparse.set_len(123_456).unwrap();
}

/// How much of everything [`operations`] makes.
pub(super) struct Scale {
    pub(super) files: u64,
    /// Bytes of the one large file.
    pub(super) big: usize,
    /// Lengths of symlink targets beside those around the limit of a fast symlink.
    pub(super) links: &'static [usize],
}

const SMALL: Scale = Scale {
    files: 300,
    big: 9 << 20,
    links: &[200, 900],
};

pub(super) fn operations(both: &mut Both, short_times: bool, scale: &Scale) {
    let mut random = Random(42);
    for d in 0..18 {
        both.dir(format!("/d{d}").as_bytes());
    }
    both.dir(b"/d1/deep");
    both.dir(b"/d1/deep/er");
    for f in 0..scale.files {
        let content = random.bytes((f * 67 % 20_001) as usize);
        let a = Attrs {
            mode: Some([0o644, 0o4755, 0o1777, 0o600][f as usize % 4]),
            owner: Some((if f % 5 == 0 { 165_536 } else { 0 }, f as u32)),
            mtime: match (f % 7, short_times) {
                (3, false) => Some(crate::fs::Time {
                    secs: 2_222_222_222,
                    nanos: 5,
                }),
                (4, _) => Some(at(1)),
                _ => None,
            },
            now: at(NOW),
        };
        both.put(format!("/d{}/file{f}", f % 18).as_bytes(), &content, false, &a);
    }
    let big = random.bytes(scale.big);
    both.put(b"/d2/big", &big, false, &attrs(0o644, NOW));
    let mut holes = vec![0; 3_000_000];
    holes[1_000_000..1_000_100].fill(7);
    holes[2_999_999] = 1;
    both.put(b"/d2/holes", &holes, true, &attrs(0o644, NOW));
    both.put(b"/d2/nothing", &[0; 50_000], true, &attrs(0o644, NOW));
    for len in [1, 58, 59, 60, 61].iter().chain(scale.links).copied() {
        let target = vec![b'a' + (len % 26) as u8; len];
        let path = format!("/d3/link{len}").into_bytes();
        both.fs.symlink(&path, &target, &attrs(0o777, NOW)).unwrap();
        both.model.symlink(&path, &target, &attrs(0o777, NOW));
    }
    both.fs
        .symlink(b"/d3/link200", b"short", &attrs(0o777, NOW))
        .unwrap();
    both.model.symlink(b"/d3/link200", b"short", &attrs(0o777, NOW));
    both.fs.hard_link(b"/d4/hard", b"/d5/file5", at(NOW)).unwrap();
    both.model.hard_link(b"/d4/hard", b"/d5/file5", at(NOW));
    both.put(
        b"/d4/hard",
        b"one content, two names",
        false,
        &Attrs {
            now: at(NOW + 1),
            ..Attrs::default()
        },
    );
    both.put(b"/d6/file6", &big[..200_000], false, &attrs(0o600, NOW));
    both.put(b"/d2/big", b"short now", false, &attrs(0o600, NOW));
    both.put(b"/d2/holes", &big[..70_000], false, &attrs(0o600, NOW));
    for (len, path) in [
        (1, "/d7/file7"),
        (100, "/d7/file25"),
        (9000, "/d7/file43"),
        (1, "/d2/nothing"),
    ] {
        both.append(path.as_bytes(), &big[..len]);
    }
    both.append(b"/d2/holes", &big[..1]);
    both.append(b"/d2/holes", &big[..10_000]);
    both.xattr(b"/d8/file8", b"user.small", Some(b"value"));
    both.xattr(
        b"/d8/file8",
        b"security.capability",
        Some(&[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    );
    both.xattr(b"/d8/file8", b"trusted.big", Some(&big[..800]));
    both.xattr(b"/d8", b"user.on-a-directory", Some(b"x"));
    both.xattr(b"/d8/file26", b"user.gone", Some(&big[..500]));
    both.xattr(b"/d8/file26", b"user.gone", None);
    both.xattr(b"/d8/file26", b"user.never", None);
    for d in 0..3 {
        let path = format!("/d9/file{}", 9 + 18 * d);
        both.remove(path.as_bytes());
    }
    both.remove(b"/d10");
    both.remove(b"/d3/link900");
    both.fs.rename(b"/d1/deep", b"/d11/moved", at(NOW + 2)).unwrap();
    both.model.rename(b"/d1/deep", b"/d11/moved", at(NOW + 2));
    both.fs.rename(b"/d2/holes", b"/d2/other", at(NOW + 3)).unwrap();
    both.model.rename(b"/d2/holes", b"/d2/other", at(NOW + 3));
    let a = Attrs {
        mode: Some(0o2750),
        owner: Some((70_000, 80_000)),
        mtime: Some(at(5)),
        now: at(NOW),
    };
    both.fs.set_attrs(b"/d12", &a).unwrap();
    both.model.apply(b"/d12", &a);
    // What must be refused changes nothing.
    let fs = &mut both.fs;
    let s = source(b"x");
    let a = attrs(0o644, NOW);
    assert!(matches!(
        fs.put_file(b"/d12", &s, false, &a),
        Err(FsError::IsADirectory(_))
    ));
    assert!(matches!(
        fs.put_file(b"/no/file", &s, false, &a),
        Err(FsError::NotFound(_))
    ));
    assert!(matches!(
        fs.put_file(b"/d4/hard/x", &s, false, &a),
        Err(FsError::NotADirectory(_))
    ));
    assert!(matches!(
        fs.put_file(&[b"/".as_slice(), &[b'n'; 256]].concat(), &s, false, &a),
        Err(FsError::Invalid { .. })
    ));
    assert!(matches!(
        fs.remove(b"/d11", false, at(NOW)),
        Err(FsError::NotEmpty(_))
    ));
    assert!(matches!(
        fs.rename(b"/d11", b"/d11/moved/x", at(NOW)),
        Err(FsError::Invalid { .. })
    ));
    assert!(matches!(
        fs.rename(b"/d11", b"/d12", at(NOW)),
        Err(FsError::Exists(_))
    ));
    assert!(matches!(fs.symlink(b"/d11", b"x", &a), Err(FsError::Exists(_))));
    assert!(matches!(
        fs.hard_link(b"/x", b"/d11", at(NOW)),
        Err(FsError::IsADirectory(_))
    ));
    assert!(matches!(
        fs.set_xattr(b"/d8/file8", b"user.big", Some(&big[..5000]), at(NOW)),
        Err(FsError::Invalid { .. })
    ));
    assert!(matches!(fs.stat(b"/d1/../d2"), Err(FsError::Invalid { .. })));
}

pub(super) fn edit_old(both: &mut Both) {
    let now = Attrs {
        now: at(NOW),
        ..Attrs::default()
    };
    both.put("/old1/fïle-007".as_bytes(), b"replaced, xattr kept", false, &now);
    both.append("/old1/fïle-008".as_bytes(), b"ACL kept");
    for path in ["/old2/prealloc", "/old2/sparse", "/old2/keepsize"] {
        if both.model.has(path.as_bytes()) {
            both.append(path.as_bytes(), &[9; 5000]);
        }
    }
    both.remove(b"/old3");
    for f in 0..300 {
        both.put(format!("/many/new{f}").as_bytes(), b"n", false, &now);
    }
    for f in (0..700).step_by(7) {
        both.remove(format!("/many/entry-with-a-longer-name-{f}").as_bytes());
    }
}

/// The kernel writes and deletes in everything that was edited.
pub(super) fn kernel_goes_on(root: &std::path::Path) {
    use std::fs;
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            for f in 0..40 {
                fs::write(path.join(format!("kernel-{f}")), vec![1; 5000]).unwrap();
            }
        }
    }
    fs::remove_dir_all(root.join("d11")).unwrap();
    fs::remove_dir_all(root.join("d8")).unwrap();
    fs::remove_dir_all(root.join("d2")).unwrap();
}

fn layout(name: &str) {
    let Some(base) = make(name, 200, &[]) else {
        return;
    };
    let filled = base.mounted("rw", fill);
    base.fsck("the base");
    let start = base.kernel_view().unwrap_or_else(|| our_view(&base.open()));
    let mut both = Both {
        fs: base.open(),
        model: Model::from_view(&start),
    };
    same("our reader of the base", &start, &our_view(&both.fs));
    if filled {
        edit_old(&mut both);
    }
    operations(&mut both, base.short_times, &SMALL);
    let mut expected = both.model.view();
    same("before the commit", &expected, &our_view(&both.fs));
    both.fs.commit().unwrap();
    base.fsck(name);
    same("after the commit", &expected, &our_view(&both.fs));
    same("a fresh reader", &expected, &our_view(&base.open()));
    if let Some(view) = base.kernel_view() {
        same("the kernel", &expected, &view);
    }
    // A second edit of what the first one made.
    both.remove(b"/d7");
    both.put(b"/d2/other", b"again", false, &attrs(0o640, NOW));
    both.fs.commit().unwrap();
    base.fsck("second commit");
    expected = both.model.view();
    if let Some(view) = base.kernel_view() {
        same("the kernel, second commit", &expected, &view);
    }
    if base.mounted("rw", kernel_goes_on) {
        base.fsck("after the kernel went on");
    }
}

macro_rules! layouts {
    ($($name:ident)*) => { $(
        #[test]
        fn $name() {
            layout(stringify!($name));
        }
    )* };
}

layouts! { bookworm trixie buster hypriot debian debian13 block1k block2k inode128 inode128csum noresize noindex }

/// `CEIL_EXT4_IMAGE=root.ext4` puts a real root file system (an image of the partition alone) through the same.
#[test]
fn real_image() {
    let Ok(image) = std::env::var("CEIL_EXT4_IMAGE") else {
        return;
    };
    let Some(base) = make("debian", 8, &[]) else {
        return;
    };
    std::fs::copy(image, &base.image).unwrap();
    let Some(start) = base.kernel_view() else {
        return;
    };
    let file = std::fs::File::options().write(true).open(&base.image).unwrap();
    file.set_len(base.open().space().total + (300 << 20)).unwrap();
    let mut both = Both {
        fs: base.open(),
        model: Model::from_view(&start),
    };
    same("our reader of the image", &start, &our_view(&both.fs));
    both.fs.grow(Disk::open(&base.image)).unwrap();
    operations(&mut both, base.short_times, &SMALL);
    both.remove(b"/usr/share");
    both.fs.commit().unwrap();
    base.fsck("the edited image");
    let view = base.kernel_view().unwrap();
    let mut expected = both.model.view();
    // The model does not know which names of the base are hard links.
    for (name, seen) in &mut expected {
        if let Some(old) = start.get(name) {
            seen.links = view.get(name).map_or(old.links, |s| s.links);
        }
    }
    same("the kernel", &expected, &view);
}
