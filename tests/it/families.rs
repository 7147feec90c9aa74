//! Every family of bases through a cluster file with every kind of edit: what outsiders see afterwards is what the
//! list says, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use ceil_img::values::Digest;
use serde_json::Value;

use crate::support::bases::{Base, base, each_family};
use crate::support::cli::{Ran, Test};
use crate::support::judge::{self, Change, Content, Entry};
use crate::support::{tiny, tools};

/// The default build epoch: 2025-01-01T00:00:00Z.
const EPOCH: (i64, i64) = (1_735_689_600, 0);

const EDITS: &str = include_str!("../../fixtures/profiles/every-kind.yaml");

/// What the tests know of a family.
struct Family {
    mount: &'static str,
    /// `/bin` is a link.
    merged: bool,
    /// Files that carry the node's identity on the FAT.
    seed: &'static [&'static str],
}

fn family(name: &str) -> Family {
    let (mount, merged, seed): (_, _, &[&str]) = match name {
        "hypriot" | "rpi64" => ("/boot", false, &["meta-data", "user-data"]),
        "raspios-buster" | "raspios-bullseye" => ("/boot", true, &[]),
        "raspios-trixie" | "ubuntu-raspi" => ("/boot/firmware", true, &["meta-data", "user-data"]),
        _ => ("/boot/firmware", true, &[]),
    };
    Family { mount, merged, seed }
}

fn cluster(base: &Base, family: &Family) -> Test {
    let mut holes = vec![0; 1 << 20];
    holes[500_000..500_003].copy_from_slice(b"mid");
    Test::new()
        .cluster("cluster: {name: c}\nnodes: [{name: one, hostname: first, profile: p, legacy: true}]\n")
        .profile(
            "p",
            &format!(
                "base: {}\n{}",
                base.path.display(),
                EDITS.replace("MOUNT", family.mount)
            ),
        )
        .file("k3s", tiny::noise(700_000))
        .file("holes", &holes)
        .file("t.j2", "{{ node.hostname }}\n")
        .file(
            "overlay/.ceil-owners",
            "opt/data 0750 1000:1000\nopt/data/** 0640 1000:1000\n",
        )
        .file("overlay/etc/modules-load.d/k8s.conf", "overlay\n")
        .file("overlay/opt/data/file", "data\n")
        .file("overlay/usr/local/sbin/run", "#!/bin/sh\n")
        .mode("overlay/usr/local/sbin/run", 0o700)
        .symlink("overlay/opt/data/l", "../../../..")
}

/// Ids of the machine that a vendor baked in, which every board makes anew.
fn ids(base: &Base) -> &'static [&'static str] {
    match base.family {
        "hypriot" => &["/etc/machine-id", "/var/lib/dbus/machine-id"],
        "rpi64" => &["/etc/machine-id"],
        _ => &[],
    }
}

/// Kind, mode, owner, content: what the list says a path is afterwards.
type Wanted = (u32, (u32, u32), Content);

fn text(content: &str) -> Content {
    Content::File(Digest::sha256(content.as_bytes()))
}

fn wanted(family: &Family, before: &BTreeMap<PathBuf, Entry>, base: &Base) -> BTreeMap<PathBuf, Wanted> {
    let root = (0, 0);
    let file = |mode: u32, owner, content| (0o100_000 | mode, owner, content);
    let cat = |path: &str| String::from_utf8(judge::ext4_cat(&base.path, &base.root, path)).unwrap();
    let link = |to: &str| (0o120_777, root, Content::Symlink(to.into()));
    let fstab = format!("{}LABEL=data /data ext4 defaults,nofail 0 2\n", cat("/etc/fstab"));
    let bin = if family.merged {
        "/usr/bin/tool"
    } else {
        "/bin/tool"
    };
    let mut holes = vec![0; 1 << 20];
    holes[500_000..500_003].copy_from_slice(b"mid");
    let hosts: String = cat("/etc/hosts")
        .lines()
        .map(|l| {
            if l.starts_with("127.0.1.1") {
                "127.0.1.1\tfirst\n".to_owned()
            } else {
                format!("{l}\n")
            }
        })
        .collect();
    let kept = |path: &str| before[Path::new(path)].content.clone();
    [
        ("/etc/hostname", file(0o644, root, text("first\n"))),
        ("/etc/hosts", file(0o644, root, text(&hosts))),
        ("/etc/motd", file(0o644, root, text("hello\n"))),
        (
            "/usr/local/bin/k3s",
            file(0o755, root, Content::File(Digest::sha256(&tiny::noise(700_000)))),
        ),
        ("/etc/rendered", file(0o644, root, text("first\n"))),
        (
            "/var/lib/holes",
            file(0o644, root, Content::File(Digest::sha256(&holes))),
        ),
        (
            "/etc/modules-load.d/k8s.conf",
            file(0o644, root, text("overlay\n")),
        ),
        ("/opt/data", (0o040_750, (1000, 1000), Content::Other)),
        ("/opt/data/file", file(0o640, (1000, 1000), text("data\n"))),
        (
            "/opt/data/l",
            (0o120_777, (1000, 1000), Content::Symlink("../../../..".into())),
        ),
        ("/usr/local/sbin/run", file(0o755, root, text("#!/bin/sh\n"))),
        ("/var/lib/x", (0o040_700, root, Content::Other)),
        ("/opt/t", file(0o600, (1000, 165_536), text("t\n"))),
        ("/opt/h", file(0o600, (1000, 165_536), text("t\n"))),
        ("/opt/l", link("/opt/t")),
        (
            "/opt/long",
            link("/opt/0123456789012345678901234567890123456789012345678901234567890123456789"),
        ),
        ("/opt/b", file(0o644, root, text("a\n"))),
        ("/etc/modules.old", file(0o644, root, kept("/etc/modules"))),
        (
            "/etc/sysctl.conf",
            file(
                0o644,
                root,
                text(&(cat("/etc/sysctl.conf") + "vm.swappiness=1\n")),
            ),
        ),
        ("/etc/passwd", file(0o644, root, kept("/etc/passwd"))),
        ("/etc/group", file(0o644, root, kept("/etc/group"))),
        ("/etc/fstab", file(0o644, root, text(&fstab))),
        (bin, file(0o755, root, text("#!/bin/sh\n"))),
    ]
    .into_iter()
    .chain(ids(base).iter().map(|path| match *path {
        "/etc/machine-id" => (*path, file(0o444, root, text(""))),
        path => (path, link("/etc/machine-id")),
    }))
    .map(|(path, wanted)| (PathBuf::from(path), wanted))
    .collect()
}

/// The kernel's view of the result against what the list says.
fn kernel_agrees(base: &Base, family: &Family, out: &Path) {
    let partition = judge::partitions(out).into_iter().find(|p| !p.is_boot()).unwrap();
    let (Some(before), Some(after)) = (
        judge::kernel_view(&base.path, &base.root),
        judge::kernel_view(out, &partition),
    ) else {
        return;
    };
    let differences = judge::differences(&before, &after);
    let index = |view: &[Entry]| view.iter().map(|e| (e.path.clone(), e.clone())).collect();
    let (old, new): (BTreeMap<PathBuf, Entry>, BTreeMap<PathBuf, Entry>) = (index(&before), index(&after));
    let wanted = wanted(family, &old, base);
    for (path, (mode, owner, content)) in &wanted {
        let entry = new.get(path).unwrap_or_else(|| panic!("{path:?} is missing"));
        let found = (&entry.mode, &(entry.uid, entry.gid), &entry.content);
        assert_eq!(found, (mode, owner, content), "{path:?}");
        let mtime = match path.to_str().unwrap() {
            "/usr/local/bin/k3s" => (1_738_555_506, 0),
            "/etc/group" => (1_000_000_000, 0),
            "/etc/passwd" => old[path].mtime,
            "/etc/modules.old" => old[Path::new("/etc/modules")].mtime,
            _ => EPOCH,
        };
        assert_eq!(entry.mtime, mtime, "{path:?}");
        let xattrs: &[(&[u8], &[u8])] = match path.to_str().unwrap() {
            "/usr/local/bin/k3s" => &[(b"user.x", b"v")],
            "/etc/passwd" => &[
                (
                    b"security.capability",
                    b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
                ),
                (b"user.note", b"x"),
            ],
            _ => &[],
        };
        let found: Vec<(&[u8], &[u8])> = entry.xattrs.iter().map(|(n, v)| (&n[..], &v[..])).collect();
        assert_eq!(found, xattrs, "{path:?}");
    }
    let (t, h) = (&new[Path::new("/opt/t")], &new[Path::new("/opt/h")]);
    assert_eq!((t.links, &t.first_name), (2, &h.first_name));

    // All else is as it was, but for the times and link counts of directories that got or lost a name.
    for (path, change) in differences {
        if path.starts_with("/usr/share/doc") || path == Path::new("/etc/modules") {
            assert_eq!(change, Change::Removed, "{path:?}");
            continue;
        }
        if wanted.contains_key(&path) {
            continue;
        }
        let parent = |p: &Path| p.parent() == Some(&path);
        assert!(
            change == Change::Changed
                && (wanted.keys().any(|p| parent(p)) || parent(Path::new("/usr/share/doc"))),
            "{path:?} {change:?}"
        );
        let (a, b) = (&old[&path], &new[&path]);
        let as_before = Entry {
            mtime: a.mtime,
            links: a.links,
            ..b.clone()
        };
        assert_eq!(*a, as_before);
        assert_eq!(b.mtime, EPOCH, "{path:?}");
    }
    assert!(!new.keys().any(|p| p.starts_with("/usr/share/doc")));
    // Holes stay holes.
    let said = judge::debugfs(out, &partition, "stat /var/lib/holes");
    assert!(said.contains("Blockcount: 8\n"), "{said}");
    // The kernel goes on with it.
    let copy = out.with_file_name("copy.img");
    fs::copy(out, &copy).unwrap();
    if let Some(mount) = judge::Mount::read_write(&copy, &partition) {
        fs::create_dir(mount.dir.join("opt/more")).unwrap();
        fs::write(mount.dir.join("opt/more/file"), tiny::noise(1 << 20)).unwrap();
        fs::remove_file(mount.dir.join("usr/local/bin/k3s")).unwrap();
    }
    judge::e2fsck(&copy, &partition);
    fs::remove_file(copy).unwrap();
}

/// The FAT as mtools read it.
fn fat_agrees(base: &Base, family: &Family, out: &Path) {
    let partition = judge::partitions(out)
        .into_iter()
        .find(judge::Partition::is_boot)
        .unwrap();
    assert_eq!(partition, base.boot);
    let (old, new) = (
        judge::fat_view(&base.path, &base.boot),
        judge::fat_view(out, &partition),
    );
    let changed: BTreeSet<&str> = old
        .keys()
        .chain(new.keys())
        .filter(|p| old.get(*p) != new.get(*p))
        .map(|p| p.to_str().unwrap())
        .collect();
    let mut expected: BTreeSet<&str> = family.seed.iter().copied().collect();
    expected.extend(["ceil-card.json", "cmdline.txt", "config.txt", "A long name.txt"]);
    assert_eq!(changed, expected);
    for path in &changed {
        assert_eq!(new[Path::new(path)].1, EPOCH.0, "{path}");
    }
    let cat = |image: &Path, path: &str| String::from_utf8(judge::fat_cat(image, &partition, path)).unwrap();
    assert_eq!(cat(out, "A long name.txt"), "on the FAT\n");
    let old_line = cat(&base.path, "cmdline.txt");
    let mut words: Vec<&str> = old_line.split_whitespace().filter(|w| *w != "quiet").collect();
    for word in ["cgroup_enable=memory", "psi=1"] {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    assert_eq!(cat(out, "cmdline.txt"), words.join(" ") + "\n");
    let config = cat(out, "config.txt");
    for line in ["gpu_mem=17", "dtparam=i2c_arm=on", "dtparam=spi=on"] {
        assert_eq!(
            config.lines().filter(|l| *l == line).count(),
            1,
            "{line}: {config}"
        );
    }
    assert!(!config.contains("gpu_mem=16"));
    assert!(cat(out, "ceil-card.json").contains("\"node\":\"one\""));
    for name in family.seed {
        assert!(cat(out, name).contains("first"), "{name}");
    }
}

/// What `diff` says: the planned paths, the table and the size, nothing else.
fn diff_agrees(base: &Base, family: &Family, ran: Ran) -> Ran {
    let ran = ran
        .again()
        .args(["diff", "--json"])
        .args([&base.path])
        .args(["out/one.img"])
        .status(1)
        .run();
    let differences: Vec<Value> = ran
        .stdout
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let mut found = BTreeSet::new();
    let mut docs = 0;
    for difference in &differences {
        if let Some(property) = difference["property"].as_str() {
            let number = base.root.number;
            let sizes = [
                "image size".to_owned(),
                format!("partition {number} size"),
                "root size".to_owned(),
            ];
            assert!(sizes.iter().any(|s| s == property), "{difference}");
            continue;
        }
        let path = difference["path"].as_str().unwrap();
        if path.starts_with("root:/usr/share/doc") {
            assert_eq!(difference["change"], "removed");
            docs += 1;
            continue;
        }
        found.insert(format!("{} {path}", difference["change"].as_str().unwrap()));
    }
    assert_eq!(docs, 1 + 40 + 160);
    let bin = if family.merged {
        "/usr/bin/tool"
    } else {
        "/bin/tool"
    };
    let mut expected: BTreeSet<String> = [
        "/usr/local/bin/k3s",
        "/etc/rendered",
        "/var/lib/holes",
        "/etc/modules-load.d/k8s.conf",
        "/opt/data",
        "/opt/data/file",
        "/opt/data/l",
        "/usr/local/sbin/run",
        "/var/lib/x",
        "/opt/t",
        "/opt/h",
        "/opt/l",
        "/opt/long",
        "/opt/b",
        "/etc/modules.old",
        bin,
    ]
    .map(|p| format!("added root:{p}"))
    .into();
    for path in [
        "/etc/hostname",
        "/etc/hosts",
        "/etc/motd",
        "/etc/sysctl.conf",
        "/etc/passwd",
        "/etc/fstab",
    ] {
        expected.insert(format!("changed root:{path}"));
    }
    for path in ids(base) {
        expected.insert(format!("changed root:{path}"));
    }
    expected.insert("removed root:/etc/modules".to_owned());
    for name in ["cmdline.txt", "config.txt"].iter().chain(family.seed) {
        expected.insert(format!("changed boot:/{name}"));
    }
    expected.insert("added boot:/A long name.txt".to_owned());
    expected.insert("added boot:/ceil-card.json".to_owned());
    assert_eq!(found, expected);
    ran
}

fn the_whole_path(name: &str) {
    let Some(base) = base(name) else { return };
    if !tools::have(&[
        "e2fsck",
        "dumpe2fs",
        "fsck.vfat",
        "sfdisk",
        "sgdisk",
        "mcopy",
        "debugfs",
    ]) {
        return;
    }
    let family = family(name);
    let ran = cluster(&base, &family).args(["build", "one", "--verify"]).run();
    let out = ran.path("out/one.img");
    judge::all(&out);
    let grown = judge::partitions(&out)
        .into_iter()
        .find(|p| !p.is_boot())
        .unwrap();
    assert!(grown.len >= base.root.len + (32 << 20), "{grown:?}");
    assert_eq!((grown.start, &grown.uuid), (base.root.start, &base.root.uuid));
    assert_eq!(
        judge::table_header(&out)["label-id"],
        judge::table_header(&base.path)["label-id"]
    );
    let (a, b) = (
        judge::superblock(&base.path, &base.root),
        judge::superblock(&out, &grown),
    );
    for key in [
        "Filesystem UUID",
        "Filesystem volume name",
        "Filesystem features",
        "Directory Hash Seed",
    ] {
        assert_eq!(a[key], b[key]);
    }
    kernel_agrees(&base, &family, &out);
    fat_agrees(&base, &family, &out);
    let ran = diff_agrees(&base, &family, ran);

    // The words of the command line and of config.txt once more change nothing at all.
    let again = "- {kernel-args: {add: [cgroup_enable=memory, psi=1], remove: [quiet]}}\n\
                 - {config-txt: {section: all, set: {gpu_mem: 17, dtparam: [i2c_arm=on, spi=on]}}}\n";
    let ran = ran
        .again()
        .file("again.yaml", again)
        .args([
            "edit",
            "--image",
            "out/one.img",
            "--out",
            "again.img",
            "again.yaml",
        ])
        .run();
    assert!(ran.read("again.img") == ran.read("out/one.img"));
    ran.again()
        .args(["check", "out/one.img"])
        .stderr_has("no defect was found")
        .run();
}

each_family!(the_whole_path);
