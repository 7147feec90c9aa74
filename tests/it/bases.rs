//! The base images are what they claim to be, and the judges do judge.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use ceil_img::disk::BlockIo as _;
use ceil_img::values::Digest;

use crate::support::cli::Test;
use crate::support::faulty::{Calls, Faulty, FileDevice, Memory};
use crate::support::{bases, judge, tools};

#[test]
fn every_base_is_clean() {
    if !tools::have(&["e2fsck", "dumpe2fs", "fsck.vfat", "sfdisk", "sgdisk"]) {
        return;
    }
    for base in bases::all() {
        judge::all(&base.path);
    }
    for base in bases::FAMILIES.iter().map_while(|f| bases::worn(f)) {
        judge::all(&base.path);
    }
}

/// What the kernel copied is what the recipe described.
#[test]
fn worn_bases_hold_the_same_tree() {
    let (Some(base), Some(worn)) = (bases::base("debian-gpt"), bases::worn("debian-gpt")) else {
        return;
    };
    let (Some(before), Some(after)) = (
        judge::kernel_view(&base.path, &base.root),
        judge::kernel_view(&worn.path, &worn.root),
    ) else {
        return;
    };
    assert_eq!(judge::differences(&before, &after), []);
}

#[test]
fn bases_have_the_features_of_their_family() {
    for base in bases::all() {
        let superblock = judge::superblock(&base.path, &base.root);
        let has = |feature: &str| superblock["Filesystem features"].split(' ').any(|f| f == feature);
        let (csum, seed, uninit, wide) = match base.family {
            "hypriot" | "rpi64" => (false, false, true, false),
            "raspios-buster" => (false, false, false, false),
            "raspios-bullseye" | "raspios-bookworm" => (true, false, false, false),
            "raspios-trixie" => (true, true, false, false),
            "ubuntu-raspi" => (true, false, false, true),
            _ => (true, true, false, true),
        };
        assert_eq!(has("metadata_csum"), csum, "{}", base.family);
        assert_eq!(has("metadata_csum_seed"), seed, "{}", base.family);
        assert_eq!(has("orphan_file"), seed, "{}", base.family);
        assert_eq!(has("uninit_bg"), uninit, "{}", base.family);
        assert_eq!(has("64bit"), wide, "{}", base.family);
        let flags = judge::debugfs(&base.path, &base.root, "stat /var/lib/dpkg/info");
        assert!(flags.contains("Flags: 0x81000"), "no hash index: {flags}");
        let cmdline = judge::fat_cat(&base.path, &base.boot, "cmdline.txt");
        assert_eq!(cmdline.iter().filter(|b| **b == b'\n').count(), 1);
    }
}

#[test]
fn the_kernel_sees_the_odd_things() {
    let Some(base) = bases::base("raspios-trixie") else {
        return;
    };
    let Some(view) = judge::kernel_view(&base.path, &base.root) else {
        return;
    };
    let at = |path: &str| view.iter().find(|e| e.path == Path::new(path)).unwrap();
    assert_eq!(
        at("/usr/share/zoneinfo/UTC").first_name,
        at("/usr/share/zoneinfo/Zulu").first_name
    );
    assert_eq!(at("/usr/bin/ping").xattrs[0].0, b"security.capability");
    assert_eq!(at("/bin").content, judge::Content::Symlink("usr/bin".into()));
    assert_eq!(at("/tmp").mode, 0o041_777);
    assert_eq!(at("/usr/src/odd/large").uid, 165_536);
    assert_eq!(at("/usr/src/odd/old").mtime, (1_000_000_000, 0));
    assert!(judge::differences(&view, &view).is_empty());
}

#[test]
fn mtools_see_the_boot_partition() {
    let Some(base) = bases::base("raspios-trixie") else {
        return;
    };
    let view = judge::fat_view(&base.path, &base.boot);
    let (digest, mtime) = &view[Path::new("meta-data")];
    assert_eq!(
        *digest,
        Digest::sha256(b"dsmode: local\ninstance_id: rpios-image\n")
    );
    assert_eq!(*mtime, 1_749_988_800);
    assert!(view.contains_key(Path::new("overlays/vc4-kms-v3d.dtbo")));
    assert!(judge::mdir(&base.path, &base.boot, "/overlays/").contains(&"::/overlays/README".to_owned()));
}

/// One flipped bit in a superblock, in a FAT and in a partition table: each judge must complain.
#[test]
fn judges_see_damage() {
    let Some(base) = bases::base("raspios-bookworm") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy.img");
    base.copy_to(&copy);
    let flip = |offset: u64| {
        let file = OpenOptions::new().read(true).write(true).open(&copy).unwrap();
        let mut byte = [0u8];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
    };
    let complains = |judge: &dyn Fn()| catch_unwind(AssertUnwindSafe(judge)).is_err();

    // The free block count of the superblock, and the second cluster chain of the first FAT.
    flip(base.root.start + 1024 + 12);
    assert!(complains(&|| judge::e2fsck(&copy, &base.root)));
    flip(base.boot.start + 32 * 512 + 16);
    assert!(complains(&|| judge::fsck_vfat(&copy, &base.boot)));
    // The start of the second partition now lies far behind the end.
    flip(446 + 16 + 11);
    assert!(complains(&|| judge::table(&copy)));
}

#[test]
fn runs_are_checked() {
    let run = || {
        Test::new()
            .args(["--no-such-option"])
            .umask(0o077)
            .tz("Asia/Kathmandu")
            .status(77)
            .run()
    };
    assert!(
        catch_unwind(run).is_err(),
        "an exit code that did not come was taken"
    );
    let ran = Test::new().cluster("cluster: {name: x}\n").any_status().run();
    assert!(ran.code.is_some());
    assert_eq!(ran.read("cluster.yaml"), b"cluster: {name: x}\n");
    assert!(ran.again().dir().join("cluster.yaml").exists());
}

#[test]
fn faulty_devices_fail_where_they_should() {
    let memory = Memory::nasty(4096);
    let device = Faulty::after(memory.clone(), Calls::Writes, 2);
    assert!(device.write_at(0, &[1]).is_ok());
    assert!(device.read_at(0, &mut [0; 8]).is_ok());
    assert!(device.write_at(1, &[2]).is_ok());
    assert!(device.write_at(2, &[3]).is_err());
    assert_eq!(device.calls(), 3);
    assert_eq!(memory.bytes()[..3], [1, 2, 0xa5]);

    let short = Faulty::short(memory, 1024);
    assert_eq!(short.len(), 4096);
    assert!(short.read_at(1000, &mut [0; 24]).is_ok());
    assert!(short.read_at(1000, &mut [0; 25]).is_err());

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("device");
    std::fs::write(&path, [7; 16]).unwrap();
    let file: Arc<FileDevice> = FileDevice::open(&path);
    assert!(file.write_at(15, &[1, 2]).is_err());
    file.write_at(15, &[9]).unwrap();
    assert_eq!(std::fs::read(&path).unwrap()[14..], [7, 9]);
}
