//! A second implementation of ext4, not ours: it reads what we edited, and what it edits comes out as what we edit.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ceil_img::plan::{Attributes, Content as Payload, Edit, Op, OutputFormat, Xattr};
use ceil_img::values::{Digest, Mode, Owner, VolumeName};
use fs_ext4::Filesystem;
use fs_ext4::block_io::FileDevice;

use crate::pipeline::{edit, list, write_edited};
use crate::support::judge::{self, Content, Entry, Partition};
use crate::support::tiny::noise;
use crate::support::{bases, tools, view};

const ROOT_INODE: u32 = 2;

/// Everything that the other reader sees, in the kernel's words, without device numbers.
fn theirs(image: &Path, root: &Partition) -> Vec<Entry> {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("root");
    judge::extract(image, root, &copy);
    let fs = Filesystem::mount(Arc::new(FileDevice::open_path(&copy).unwrap())).unwrap();
    let mut found = Vec::new();
    let mut pending = vec![(ROOT_INODE, PathBuf::from("/"))];
    while let Some((number, path)) = pending.pop() {
        let entry = entry(&fs, number, &path);
        if entry.mode & 0o170_000 == 0o040_000 {
            for child in fs.read_dir_ino(number).unwrap() {
                if child.inode != 0 && child.name != b"." && child.name != b".." {
                    pending.push((child.inode, path.join(OsStr::from_bytes(&child.name))));
                }
            }
        }
        found.push((number, entry));
    }
    found.sort_by(|a, b| a.1.path.cmp(&b.1.path));
    let mut first: BTreeMap<u32, PathBuf> = BTreeMap::new();
    found
        .into_iter()
        .map(|(number, mut entry)| {
            entry.first_name = first.entry(number).or_insert_with(|| entry.path.clone()).clone();
            entry
        })
        .collect()
}

fn entry(fs: &Filesystem, number: u32, path: &Path) -> Entry {
    let fail = |e| -> ! { panic!("{path:?}: {e:?}") };
    let (inode, raw) = fs.read_inode_verified(number).unwrap_or_else(|e| fail(e));
    let content = match inode.file_type() {
        0o100_000 => {
            let mut bytes = vec![0; usize::try_from(inode.size).unwrap()];
            let mut done = 0;
            while done < bytes.len() {
                let read = fs.read_ino(number, done as u64, &mut bytes[done..]);
                match read.unwrap_or_else(|e| fail(e)) {
                    0 => panic!("{path:?} ends at {done} of {} bytes", bytes.len()),
                    read => done += read,
                }
            }
            Content::File(Digest::sha256(&bytes))
        }
        0o120_000 => {
            let target = fs.read_link_ino(number).unwrap_or_else(|e| fail(e));
            Content::Symlink(OsStr::from_bytes(&target).into())
        }
        _ => Content::Other,
    };
    let mut xattrs: Vec<(Vec<u8>, Vec<u8>)> = fs_ext4::xattr::read_all_resolved(fs, &inode, &raw)
        .unwrap_or_else(|e| fail(e))
        .into_iter()
        .map(|a| (a.name.into_bytes(), a.value))
        .collect();
    xattrs.sort();
    Entry {
        path: path.to_owned(),
        mode: u32::from(inode.mode),
        uid: inode.uid,
        gid: inode.gid,
        size: match content {
            Content::Other => 0,
            _ => inode.size,
        },
        mtime: (inode.mtime, i64::from(inode.mtime_nsec)),
        links: u64::from(inode.links_count),
        rdev: 0,
        first_name: PathBuf::new(),
        content,
        xattrs,
    }
}

/// Without device numbers and ACLs: the other reader gives the latter as they are stored.
fn comparable(mut view: Vec<Entry>) -> Vec<Entry> {
    for entry in &mut view {
        entry.rdev = 0;
        entry.xattrs.retain(|(name, _)| !name.starts_with(b"system."));
    }
    view
}

fn same(what: &str, ours: &[Entry], theirs: &[Entry]) {
    let differ = judge::differences(ours, theirs);
    let find = |view: &[Entry], path: &Path| view.iter().find(|e| e.path == path).cloned();
    if let Some((path, _)) = differ.first() {
        panic!(
            "{what}: {} nodes differ; we have {:#?}\nand they have {:#?}",
            differ.len(),
            find(ours, path),
            find(theirs, path)
        );
    }
}

fn root_of(image: &Path) -> Partition {
    let all = judge::partitions(image);
    all.iter().find(|p| !p.is_boot()).unwrap().clone()
}

#[test]
fn another_reader_sees_in_an_edited_image_what_ours_sees() {
    if !tools::have(&["sfdisk"]) {
        return;
    }
    for base in bases::all() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("one.img");
        write_edited(&base, &list(), &out, OutputFormat::Img);
        let ours = comparable(view::ours(&out, VolumeName::Root));
        assert!(ours.len() > 500, "{}: {} nodes", base.family, ours.len());
        same(base.family, &ours, &comparable(theirs(&out, &root_of(&out))));
    }
}

/// The operations that both have, each on a file of its own and on files of the base.
fn shared() -> Vec<Edit> {
    let at = |path: &str| format!("root:{path}").parse().unwrap();
    let put = |path: &str, bytes: &[u8], mode: u16| Op::Put {
        at: at(path),
        content: Payload::inline(bytes),
        attributes: Attributes {
            mode: Some(Mode(mode)),
            ..Attributes::default()
        },
        xattrs: Vec::new(),
        sparse: false,
    };
    let dir = |path: &str, mode: u16| Op::Dir {
        at: at(path),
        attributes: Attributes {
            mode: Some(Mode(mode)),
            ..Attributes::default()
        },
    };
    let chown = |path: &str, uid, gid| Op::Chown {
        at: at(path),
        owner: Owner { uid, gid },
    };
    let link = |path: &str, to: &str| Op::Symlink {
        at: at(path),
        to: to.to_owned(),
        attributes: Attributes::default(),
    };
    let mut ops = vec![
        dir("/opt/second", 0o755),
        dir("/opt/second/private", 0o2700),
        put("/opt/second/empty", b"", 0o644),
        put("/opt/second/small", b"hello\n", 0o600),
        put("/opt/second/block", &noise(4096), 0o644),
        put("/opt/second/large", &noise(3_000_001), 0o4755),
        put("/etc/hostname", b"another\n", 0o644),
        chown("/opt/second/small", 1000, 165_536),
        chown("/opt/second/private", 65_536, 65_537),
        link("/opt/second/short", "small"),
        link(
            "/opt/second/sixty",
            "012345678901234567890123456789012345678901234567890123456789",
        ),
        link("/opt/second/long", &"x/".repeat(400)),
        Op::Hardlink {
            at: at("/opt/second/other-name"),
            to: at("/opt/second/block"),
        },
        Op::Rename {
            from: at("/opt/second/private"),
            to: at("/srv/moved"),
        },
        Op::Rename {
            from: at("/opt/second/large"),
            to: at("/srv/moved/large"),
        },
        Op::Remove {
            at: at("/opt/second/empty"),
            recursive: false,
            if_exists: false,
        },
        Op::Chmod {
            at: at("/etc/hosts"),
            mode: Mode(0o640),
        },
        Op::Xattrs {
            at: at("/opt/second/small"),
            xattrs: vec![Xattr {
                name: "user.note".to_owned(),
                value: Some(b"by the way".to_vec()),
            }],
        },
        dir("/opt/second/gone", 0o755),
        Op::Remove {
            at: at("/opt/second/gone"),
            recursive: false,
            if_exists: false,
        },
    ];
    for i in 0..150 {
        ops.push(put(
            &format!("/opt/second/many-{i:03}"),
            format!("{i}\n").as_bytes(),
            0o644,
        ));
    }
    ops.into_iter().map(edit).collect()
}

/// Carries one of the shared operations out with the other editor. New nodes of it belong to root as ours do.
fn apply_theirs(fs: &Filesystem, op: &Op) -> fs_ext4::Result<()> {
    match op {
        Op::Put {
            at,
            content,
            attributes,
            ..
        } => {
            let Payload::Inline { bytes, .. } = content else {
                panic!("only bytes at hand")
            };
            let mode = attributes.mode.unwrap().0;
            if fs.lookup_path_bytes(at.path().as_bytes()).is_err() {
                fs.apply_create(at.path(), mode)?;
            }
            if !bytes.is_empty() {
                fs.apply_replace_file_content(at.path(), bytes)?;
            }
            fs.apply_chmod(at.path(), mode)
        }
        Op::Dir { at, attributes } => {
            let mode = attributes.mode.unwrap().0;
            fs.apply_mkdir(at.path(), mode)?;
            fs.apply_chmod(at.path(), mode)
        }
        Op::Symlink { at, to, .. } => fs.apply_symlink(to, at.path()).map(drop),
        Op::Hardlink { at, to } => fs.apply_link(to.path(), at.path()),
        Op::Rename { from, to } => fs.apply_rename(from.path(), to.path(), false),
        Op::Remove { at, .. } => {
            let number = fs.lookup_path_bytes(at.path().as_bytes())?;
            if fs.stat_ino(number)?.is_dir() {
                fs.apply_rmdir(at.path())
            } else {
                fs.apply_unlink(at.path())
            }
        }
        Op::Chmod { at, mode } => fs.apply_chmod(at.path(), mode.0),
        Op::Chown { at, owner } => fs.apply_chown(at.path(), owner.uid, owner.gid),
        Op::Xattrs { at, xattrs } => xattrs
            .iter()
            .try_for_each(|x| fs.apply_setxattr(at.path(), &x.name, x.value.as_deref().unwrap())),
        op => panic!("{op:?} is not shared"),
    }
}

/// What the kernel sees, and without the right to mount what the other reader sees; times aside, which the two
/// editors set by different rules.
fn timeless(image: &Path, root: &Partition) -> Vec<Entry> {
    let mut view = match judge::kernel_view(image, root) {
        Some(view) => view,
        None => theirs(image, root),
    };
    for entry in &mut view {
        entry.mtime = (0, 0);
    }
    view
}

#[test]
fn another_editor_makes_the_same_tree_of_the_same_operations() {
    if !tools::have(&["sfdisk"]) {
        return;
    }
    for base in bases::all() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("one.img");
        write_edited(&base, &shared(), &out, OutputFormat::Img);
        let ours = timeless(&out, &root_of(&out));

        let copy = dir.path().join("root");
        judge::extract(&base.path, &base.root, &copy);
        let fs = Filesystem::mount(Arc::new(FileDevice::open_path_rw(&copy).unwrap())).unwrap();
        for edit in shared() {
            if let Err(error) = apply_theirs(&fs, &edit.op) {
                panic!("{}: {:?}: {error:?}", base.family, edit.op);
            }
        }
        fs.flush().unwrap();
        drop(fs);
        let whole = Partition {
            start: 0,
            ..base.root.clone()
        };
        same(base.family, &ours, &timeless(&copy, &whole));
    }
}
