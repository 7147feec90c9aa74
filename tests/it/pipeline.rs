//! From a base through edits to a written image, judged by outsiders; without the program around it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ceil_img::bmap::BLOCK;
use ceil_img::diff::{self, Change, Difference};
use ceil_img::disk::{Bytes, Source};
use ceil_img::edit::{Places, apply};
use ceil_img::emit::{Output, Request, emit};
use ceil_img::image::Image;
use ceil_img::plan::{Attributes, Content, Edit, GrowRule, Op, Origin, OutputFormat, Xattr};
use ceil_img::report::NoReport;
use ceil_img::values::{ByteSize, Mode, Owner, Timestamp, VolumeName};

use crate::support::{bases, judge, tools};

/// A file, read where it is.
#[derive(Debug)]
pub(crate) struct Raw(File, u64);

impl Raw {
    pub(crate) fn open(path: &Path) -> Arc<dyn Source> {
        let file = File::open(path).unwrap();
        let len = file.metadata().unwrap().len();
        Arc::new(Self(file, len))
    }
}

impl Source for Raw {
    fn len(&self) -> u64 {
        self.1
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }
}

pub(crate) fn edit(op: Op) -> Edit {
    Edit {
        op,
        origin: Origin {
            file: "test".to_owned(),
            line: 1,
        },
    }
}

fn put(at: &str, content: &[u8], mode: u16) -> Edit {
    edit(Op::Put {
        at: at.parse().unwrap(),
        content: Content::inline(content),
        attributes: Attributes {
            mode: Some(Mode(mode)),
            owner: Some(Owner { uid: 0, gid: 0 }),
            mtime: None,
        },
        xattrs: Vec::new(),
        sparse: false,
    })
}

pub(crate) const EPOCH: Timestamp = Timestamp::from_secs(1_735_689_600);

pub(crate) fn list() -> Vec<Edit> {
    let mut edits = vec![
        put("root:/etc/motd", b"hello\n", 0o644),
        put("root:/opt/new/deep/file", &vec![7; 300_000], 0o4755),
        // Through the image's own symlink where the base is merged.
        put("root:/bin/tool", b"#!/bin/sh\n", 0o755),
        edit(Op::Dir {
            at: "root:/var/lib/x".parse().unwrap(),
            attributes: Attributes {
                mode: Some(Mode(0o700)),
                owner: Some(Owner {
                    uid: 1000,
                    gid: 165_536,
                }),
                mtime: None,
            },
        }),
        edit(Op::Symlink {
            at: "root:/opt/short".parse().unwrap(),
            to: "/opt/new".to_owned(),
            attributes: Attributes::default(),
        }),
        edit(Op::Symlink {
            at: "root:/opt/long".parse().unwrap(),
            to: format!("/opt/{}", "x".repeat(200)),
            attributes: Attributes::default(),
        }),
        edit(Op::Hardlink {
            at: "root:/opt/h".parse().unwrap(),
            to: "root:/etc/motd".parse().unwrap(),
        }),
        edit(Op::Append {
            at: "root:/etc/hosts".parse().unwrap(),
            content: Content::inline(b"10.11.0.101 one\n"),
        }),
        edit(Op::Rename {
            from: "root:/opt/new".parse().unwrap(),
            to: "root:/opt/newer".parse().unwrap(),
        }),
        edit(Op::Remove {
            at: "root:/var/lib/dpkg/info".parse().unwrap(),
            recursive: true,
            if_exists: false,
        }),
        edit(Op::Chmod {
            at: "root:/etc/hosts".parse().unwrap(),
            mode: Mode(0o600),
        }),
        edit(Op::Chown {
            at: "root:/etc/hosts".parse().unwrap(),
            owner: Owner { uid: 1000, gid: 1000 },
        }),
        edit(Op::Xattrs {
            at: "root:/etc/motd".parse().unwrap(),
            xattrs: vec![Xattr {
                name: "user.note".to_owned(),
                value: Some(b"x".to_vec()),
            }],
        }),
        edit(Op::KernelArgs {
            add: vec!["cgroup_enable=memory".to_owned()],
            remove: vec!["quiet".to_owned()],
        }),
        edit(Op::ConfigTxt {
            section: "all".to_owned(),
            set: vec![("gpu_mem".to_owned(), "16".to_owned())],
            unset: vec![],
        }),
        edit(Op::Fstab {
            mount: "/data".to_owned(),
            line: Some("LABEL=data /data ext4 defaults,nofail 0 2".to_owned()),
        }),
        put("boot:/A long name on the FAT.txt", b"text\n", 0o755),
        edit(Op::Grow {
            root: GrowRule::By(ByteSize(300 << 20)),
        }),
    ];
    for i in 0..200 {
        edits.push(put(
            &format!("root:/srv/many/file-{i:03}"),
            &vec![i as u8; 100 * i],
            0o644,
        ));
    }
    edits
}

fn open_content(content: &Content) -> io::Result<Arc<dyn Source>> {
    match content {
        Content::Inline { bytes, .. } => Ok(Bytes::shared(bytes)),
        Content::File { .. } => Err(io::ErrorKind::Unsupported.into()),
    }
}

pub(crate) fn places(family: &str) -> Places {
    let old = matches!(
        family,
        "hypriot" | "rpi64" | "raspios-buster" | "raspios-bullseye"
    );
    Places {
        boot_mount: Some(if old { "/boot" } else { "/boot/firmware" }.to_owned()),
        cmdline: "/cmdline.txt".to_owned(),
        config: "/config.txt".to_owned(),
    }
}

fn build(base: &bases::Base, to: &Path, format: OutputFormat) -> (String, String) {
    write_edited(base, &list(), to, format)
}

/// Carries edits out on a base and writes the image; its digest and its block map.
pub(crate) fn write_edited(
    base: &bases::Base,
    edits: &[Edit],
    to: &Path,
    format: OutputFormat,
) -> (String, String) {
    write_with_refusals(base, edits, &[], to, format)
}

/// As [`write_edited`], after also trying edits that must be refused.
pub(crate) fn write_with_refusals(
    base: &bases::Base,
    edits: &[Edit],
    wrong: &[Edit],
    to: &Path,
    format: OutputFormat,
) -> (String, String) {
    let mut image = Image::open(Raw::open(&base.path)).unwrap();
    let places = places(base.family);
    apply(&mut image, edits, &places, 16 << 20, EPOCH, &open_content).unwrap();
    for edit in wrong {
        let alone = std::slice::from_ref(edit);
        // Room was made for all before; none is to be made for these.
        let done = apply(&mut image, alone, &places, 0, EPOCH, &open_content);
        assert!(done.is_err(), "{}: {:?} is not refused", base.family, edit.op);
    }
    image.commit().unwrap();
    let used = image.used_ranges(BLOCK).unwrap();
    let output = Output::create(to).unwrap();
    let emitted = emit(
        &Request {
            overlay: &image.overlay,
            used: &used,
            format,
            cancel: &AtomicBool::new(false),
            reporter: &NoReport,
        },
        &output,
    )
    .unwrap();
    output.finish().unwrap();
    (emitted.raw_digest.hex(), emitted.bmap.to_xml())
}

fn sha256sum(path: &Path) -> String {
    let line = tools::run(tools::command("sha256sum").arg(path));
    String::from_utf8_lossy(&line[..64]).into_owned()
}

#[test]
fn every_family_is_edited_and_stays_sound() {
    if !tools::have(&["e2fsck", "fsck.vfat", "sfdisk"]) {
        return;
    }
    for base in bases::all() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("one.img");
        let (digest, xml) = build(&base, &out, OutputFormat::Img);
        judge::all(&out);

        // The same bytes again, and the digest is that of the file.
        let again = dir.path().join("again.img");
        assert_eq!(
            build(&base, &again, OutputFormat::Img),
            (digest.clone(), xml.clone()),
            "{}",
            base.family
        );
        assert_eq!(sha256sum(&out), digest);

        // bmaptool accepts the map and makes a card that holds every block that matters.
        if tools::have(&["bmaptool"]) {
            std::fs::write(dir.path().join("one.img.bmap"), &xml).unwrap();
            let card = dir.path().join("card.img");
            tools::run(tools::command("bmaptool").arg("copy").args([&out, &card]));
            judge::all(&card);
        }

        let old = Image::open(Raw::open(&base.path)).unwrap();
        let new = Image::open(Raw::open(&out)).unwrap();
        let root = |image: &Image| image.partition(VolumeName::Root).unwrap().len;
        assert_eq!(root(&new), root(&old) + (300 << 20), "{}", base.family);
        let changed: Vec<(Change, String)> = diff::diff(&old, &new)
            .unwrap()
            .into_iter()
            .filter_map(|d| match d {
                Difference::Path { change, path, .. } => Some((change, path)),
                Difference::Property { .. } => None,
            })
            .collect();
        let has = |change: Change, path: &str| changed.contains(&(change, path.to_owned()));
        assert!(has(Change::Changed, "root:/etc/hosts"), "{changed:?}");
        assert!(has(Change::Added, "root:/opt/newer/deep/file"), "{changed:?}");
        assert!(has(Change::Removed, "root:/var/lib/dpkg/info"), "{changed:?}");
        assert!(
            has(Change::Added, "boot:/A long name on the FAT.txt"),
            "{changed:?}"
        );
        assert!(has(Change::Changed, "boot:/cmdline.txt"), "{changed:?}");
        assert!(has(Change::Added, "root:/srv/many/file-199"), "{changed:?}");
    }
}

#[test]
fn compressed_outputs_hold_the_same_image() {
    let Some(base) = bases::base("raspios-trixie") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    for (format, name, tool) in [
        (OutputFormat::ImgXz, "one.img.xz", "xz"),
        (OutputFormat::ImgZst, "one.img.zst", "zstd"),
        (OutputFormat::ImgGz, "one.img.gz", "gzip"),
    ] {
        if !tools::have(&[tool]) {
            return;
        }
        let out = dir.path().join(name);
        let (digest, _) = build(&base, &out, format);
        let first = std::fs::read(&out).unwrap();
        build(&base, &out, format);
        assert!(
            first == std::fs::read(&out).unwrap(),
            "{name} differs between two runs"
        );
        let raw = dir.path().join("raw");
        std::fs::write(&raw, tools::run(tools::command(tool).arg("-dc").arg(&out))).unwrap();
        assert_eq!(sha256sum(&raw), digest);
    }
}
