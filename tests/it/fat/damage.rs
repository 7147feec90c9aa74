//! Damaged volumes: our check and fsck.vfat find the same faults, and nothing panics or runs forever.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ceil_img::disk::{BlockIo, Bytes};
use ceil_img::fs::fat::Fat;
use ceil_img::fs::{NodeKind, Volume};

use super::support::{Base, Rng, blank, make_base, noise, now, open, put, run, text};

/// Where things are in a FAT16 or FAT32 image made here.
struct Layout {
    bytes: Vec<u8>,
    fat: usize,
    fat_len: usize,
    width: usize,
    root: usize,
    data: usize,
    cluster: usize,
}

impl Layout {
    fn read(image: &Path) -> Self {
        Self::of(&fs::read(image).expect("image"))
    }

    fn of(bytes: &[u8]) -> Self {
        let u16_at = |at: usize| usize::from(bytes[at]) | usize::from(bytes[at + 1]) << 8;
        let small = u16_at(22);
        let sectors = if small == 0 { u16_at(36) } else { small };
        let (fat, fat_len) = (u16_at(14) * 512, sectors * 512);
        let root = fat + 2 * fat_len;
        Self {
            fat,
            fat_len,
            width: if small == 0 { 4 } else { 2 },
            root,
            data: root + u16_at(17) * 32,
            cluster: usize::from(bytes[13]) * 512,
            bytes: bytes.to_vec(),
        }
    }

    /// Sets an entry in both copies.
    fn set(&mut self, cluster: usize, value: u32) {
        for copy in 0..2 {
            let at = self.fat + copy * self.fat_len + cluster * self.width;
            let width = self.width;
            self.bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
    }

    /// The offset of the short slot with this name in the root directory or anywhere behind it.
    fn slot(&self, short: &[u8; 11]) -> usize {
        (self.root..self.bytes.len())
            .step_by(32)
            .find(|at| self.bytes[*at..at + 11] == short[..])
            .expect("slot")
    }

    fn first_cluster(&self, slot: usize) -> usize {
        usize::from(self.bytes[slot + 26]) | usize::from(self.bytes[slot + 27]) << 8
    }

    fn at(&self, cluster: usize) -> usize {
        self.data + (cluster - 2) * self.cluster
    }
}

/// The smallest with 32-bit entries, because these images are copied often.
const SMALL_FAT32: Base = Base {
    name: "small fat32",
    mib: 40,
    mkfs: &["-F", "32", "-s", "1", "-n", "bootfs"],
};

const SMALL_FAT16: Base = Base {
    name: "small fat16",
    mib: 16,
    mkfs: &["-F", "16", "-n", "boot"],
};

fn sample(dir: &Path, base: Base) -> std::path::PathBuf {
    let image = make_base(dir, base, 0);
    let mut fat = open(&image);
    for name in ["/ONE.BIN", "/TWO.BIN", "/a long name.txt", "/THREE.BIN"] {
        put(&mut fat, name, &noise(1, 9_000)).expect("put");
    }
    fat.make_dir(b"/SUB", &now()).expect("directory");
    fat.make_dir(b"/SUB/DEEP", &now()).expect("directory");
    put(&mut fat, "/SUB/DEEP/FOUR.BIN", &noise(2, 5_000)).expect("put");
    fat.commit().expect("commit");
    image
}

#[test]
fn every_fault_is_found_by_us_and_by_fsck() {
    type Fault = (&'static str, &'static str, fn(&mut Layout));
    let faults: [Fault; 18] = [
        ("copies differ", "differs from the first", |l| {
            let at = l.fat + l.fat_len + 40 * l.width;
            l.bytes[at] ^= 1;
        }),
        ("cross link", "two chains", |l| {
            let one = l.first_cluster(l.slot(b"ONE     BIN"));
            let two = l.first_cluster(l.slot(b"TWO     BIN"));
            l.set(one, two as u32 + 1);
        }),
        ("loop", "twice in this one", |l| {
            let one = l.first_cluster(l.slot(b"ONE     BIN"));
            l.set(one + 1, one as u32);
        }),
        ("out of range", "does not exist", |l| {
            let one = l.first_cluster(l.slot(b"ONE     BIN"));
            l.set(one, 0xFFE0 + if l.width == 4 { 0x0FFF_0000 } else { 0 });
        }),
        ("free cluster in chain", "which is free", |l| {
            let one = l.first_cluster(l.slot(b"ONE     BIN"));
            l.set(one + 1, 0);
        }),
        ("too short", "clusters for 9000 bytes", |l| {
            let one = l.first_cluster(l.slot(b"ONE     BIN"));
            l.set(one + 1, u32::MAX >> 4);
        }),
        ("too long", "clusters for 10 bytes", |l| {
            let slot = l.slot(b"ONE     BIN");
            l.bytes[slot + 28..slot + 32].copy_from_slice(&10u32.to_le_bytes());
        }),
        ("lost cluster", "belong to no file", |l| {
            l.set(4_000, u32::MAX >> 4)
        }),
        ("start beyond the end", "does not exist", |l| {
            let slot = l.slot(b"ONE     BIN");
            l.bytes[slot + 26..slot + 28].copy_from_slice(&[0xEF, 0xFF]);
            l.bytes[slot + 20..slot + 22].copy_from_slice(&[0xFF, 0x0F]);
        }),
        ("size without a cluster", "0 clusters for", |l| {
            let slot = l.slot(b"ONE     BIN");
            l.bytes[slot + 26..slot + 28].fill(0);
            l.bytes[slot + 20..slot + 22].fill(0);
        }),
        ("directory with a size", "a directory with a size", |l| {
            let slot = l.slot(b"SUB        ");
            l.bytes[slot + 28] = 1;
        }),
        ("long name checksum", "long name", |l| {
            let slot = l.slot(b"ALONGN~1TXT");
            l.bytes[slot - 32 + 13] ^= 0x55;
            l.bytes[slot - 64 + 13] ^= 0x55;
        }),
        ("long name alone", "long name", |l| {
            let slot = l.slot(b"ALONGN~1TXT");
            l.bytes[slot - 32] = 0xE5;
        }),
        ("duplicate short name", "two entries", |l| {
            let slot = l.slot(b"TWO     BIN");
            l.bytes[slot..slot + 11].copy_from_slice(b"ONE     BIN");
        }),
        ("dot", "is not `.`", |l| {
            let at = l.at(l.first_cluster(l.slot(b"SUB        ")));
            l.bytes[at] = b'X';
        }),
        ("dot dot", "`..` names cluster", |l| {
            let at = l.at(l.first_cluster(l.slot(b"DEEP       ")));
            l.bytes[at + 32 + 26] ^= 0x3F;
        }),
        ("illegal character", "illegal short name", |l| {
            let slot = l.slot(b"TWO     BIN");
            l.bytes[slot + 1] = b'*';
        }),
        ("dirty", "dirty", |l| {
            let at = if l.width == 4 { 65 } else { 37 };
            l.bytes[at] |= 1;
        }),
    ];
    let dir = tempfile::tempdir().expect("directory");
    for base in [SMALL_FAT16, SMALL_FAT32] {
        let image = sample(dir.path(), base);
        assert_eq!(open(&image).check().expect("check"), []);
        for (name, word, fault) in faults {
            let mut layout = Layout::read(&image);
            fault(&mut layout);
            judge(
                dir.path(),
                &layout.bytes,
                &format!("{name} on {}", base.name),
                word,
            );
        }
    }
}

#[test]
fn faults_of_fat32_alone_are_found() {
    type Fault = (&'static str, &'static str, fn(&mut [u8]));
    let faults: [Fault; 5] = [
        ("free count", "free clusters", |b| b[512 + 488] ^= 0x10),
        ("FSInfo signature", "signatures are wrong", |b| b[512] = 0),
        ("backup", "differs from the boot sector", |b| b[6 * 512 + 28] ^= 1),
        ("label", "in the boot sector", |b| b[71] = b'X'),
        ("media in FAT[0]", "media byte", |b| b[32 * 512] = 0xF0),
    ];
    let dir = tempfile::tempdir().expect("directory");
    let image = sample(dir.path(), SMALL_FAT32);
    let bytes = fs::read(&image).expect("image");
    for (name, word, fault) in faults {
        let mut bytes = bytes.clone();
        fault(&mut bytes);
        let path = dir.path().join("damaged.img");
        fs::write(&path, &bytes).expect("image");
        let found = open(&path).check().expect("check");
        assert!(
            found.iter().any(|f| f.to_string().contains(word)),
            "{name}: {found:?}"
        );
        let theirs = run("fsck.vfat", &["-n", text(&path)]);
        let report = String::from_utf8_lossy(&theirs.stdout).into_owned();
        // fsck.vfat does not look at FAT[0].
        if name != "media in FAT[0]" {
            assert!(report.lines().count() > 2, "{name}: {report}");
        }
    }
}

#[test]
fn a_boot_sector_that_cannot_be_is_a_finding() {
    type Fault = (&'static str, fn(&mut [u8]));
    let faults: [Fault; 5] = [
        ("bytes per sector", |b| b[12] = 3),
        ("sectors per cluster", |b| b[13] = 3),
        ("tables", |b| b[16] = 0),
        ("sectors of 512 bytes, but the partition", |b| b[35] = 0x7F),
        ("too small", |b| b[22] = 3),
    ];
    let dir = tempfile::tempdir().expect("directory");
    let bytes = fs::read(sample(dir.path(), SMALL_FAT16)).expect("image");
    for (word, fault) in faults {
        let mut bytes = bytes.clone();
        bytes[19..21].fill(0);
        bytes[32..36].copy_from_slice(&32768u32.to_le_bytes());
        fault(&mut bytes);
        let path = dir.path().join("damaged.img");
        fs::write(&path, &bytes).expect("image");
        let device: Arc<dyn BlockIo> = super::support::FileDevice::open(&path);
        let found = ceil_img::fs::fat::check(&device).expect("an answer");
        assert!(found[0].to_string().contains(word), "{word}: {found:?}");
        assert!(!run("fsck.vfat", &["-n", text(&path)]).status.success(), "{word}");
    }
}

fn judge(dir: &Path, bytes: &[u8], name: &str, word: &str) {
    let path = dir.join("damaged.img");
    fs::write(&path, bytes).expect("image");
    let found = open(&path).check().expect("check");
    assert!(
        found.iter().any(|f| f.to_string().contains(word)),
        "{name}: {found:?}"
    );
    let theirs = run("fsck.vfat", &["-n", text(&path)]);
    let report = String::from_utf8_lossy(&theirs.stdout).into_owned();
    assert!(
        !theirs.status.success() || report.lines().count() > 2,
        "{name}: fsck.vfat finds nothing: {report}"
    );
}

/// Uses everything of a volume that may be damaged.
fn exercise(fat: &mut Fat) {
    let _ = fat.check();
    let _ = fat.used_ranges();
    let _ = fat.label();
    let mut pending = vec![Vec::new()];
    let mut visited = 0;
    while let Some(at) = pending.pop() {
        let path: &[u8] = if at.is_empty() { b"/" } else { &at };
        for entry in fat.read_dir(path).unwrap_or_default() {
            visited += 1;
            if visited > 300 {
                return;
            }
            let child = [&at[..], b"/", &entry.name].concat();
            if entry.stat.kind == NodeKind::Dir {
                pending.push(child);
            } else if let Ok(source) = fat.open(&child) {
                let mut data = vec![0; source.len().min(100_000) as usize];
                let _ = source.read_at(0, &mut data);
            }
        }
    }
    let _ = put(fat, "/ONE.BIN", &noise(3, 20_000));
    let _ = fat.append(b"/TWO.BIN", &Bytes::shared(&noise(4, 7_000)), &now());
    let _ = fat.make_dir(b"/SUB/new dir", &now());
    let _ = fat.rename(b"/SUB/DEEP", b"/DEEPER", now().now);
    let _ = fat.remove(b"/SUB", true, now().now);
    let _ = fat.commit();
}

/// An image in memory whose changes are kept apart, so that every round starts from the same bytes for free.
struct Overlay {
    base: Arc<[u8]>,
    sectors: Mutex<BTreeMap<u64, [u8; 512]>>,
}

impl Overlay {
    fn sector(&self, number: u64) -> [u8; 512] {
        let changed = self.sectors.lock().unwrap();
        changed.get(&number).copied().unwrap_or_else(|| {
            let at = number as usize * 512;
            self.base[at..at + 512].try_into().unwrap()
        })
    }
}

impl BlockIo for Overlay {
    fn len(&self) -> u64 {
        self.base.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        assert!(offset + buf.len() as u64 <= self.len(), "read behind the end");
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let from = (at % 512) as usize;
            let len = (512 - from).min(buf.len() - done);
            let sector = self.sector(at / 512);
            buf[done..done + len].copy_from_slice(&sector[from..from + len]);
            done += len;
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        assert!(offset + data.len() as u64 <= self.len(), "write behind the end");
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            let from = (at % 512) as usize;
            let len = (512 - from).min(data.len() - done);
            let mut sector = self.sector(at / 512);
            sector[from..from + len].copy_from_slice(&data[done..done + len]);
            self.sectors.lock().unwrap().insert(at / 512, sector);
            done += len;
        }
        Ok(())
    }
}

#[test]
fn flipped_metadata_is_never_a_panic_or_a_hang() {
    let dir = tempfile::tempdir().expect("directory");
    let small = blank(dir.path(), "small.img", 2 << 20);
    super::support::ok("mkfs.vfat", &["-F", "12", "-s", "1", text(&small)]);
    let images: [Arc<[u8]>; 3] = [
        small_sample(&small).into(),
        fs::read(sample(dir.path(), SMALL_FAT16)).expect("image").into(),
        fs::read(sample(dir.path(), SMALL_FAT32)).expect("image").into(),
    ];
    let places = images.each_ref().map(|image| {
        let layout = Layout::of(image);
        (layout.fat, layout.root)
    });
    let mut rng = Rng(42);
    let start = Instant::now();
    for round in 0..600 {
        let base = images[round % 3].clone();
        let (fat_at, root_at) = places[round % 3];
        let device = Arc::new(Overlay {
            base: base.clone(),
            sectors: Mutex::default(),
        });
        for _ in 0..1 + rng.below(8) {
            let at = match rng.below(4) {
                0 => rng.below(64),
                1 => rng.below(1024),
                2 => fat_at + rng.below(400),
                _ => root_at + rng.below(20_000),
            };
            let value = match rng.below(3) {
                0 => 0,
                1 => 0xFF,
                _ => base[at] ^ 1 << rng.below(8),
            };
            device.write_at(at as u64, &[value]).expect("write");
        }
        if let Ok(mut fat) = Fat::open(device) {
            exercise(&mut fat);
        }
    }
    assert!(start.elapsed() < Duration::from_secs(120), "too slow");
}

/// The boot partition of the test rig's image, where `CEIL_RIG` names the rig: sound, and sound after an edit.
#[test]
fn the_rig_is_sound_before_and_after_an_edit() {
    let Some(rig) = std::env::var_os("CEIL_RIG") else {
        return;
    };
    let packed = Path::new(&rig).join("base/ceil-base-arm64.img.xz");
    let dir = tempfile::tempdir().expect("directory");
    let image = dir.path().join("boot.img");
    // The partition is at sector 16384 and has 524288 sectors; xz does not survive that nobody reads on.
    let script = format!(
        "xz -dc '{}' 2>/dev/null | dd of='{}' bs=1M skip=8 count=256 iflag=fullblock conv=sparse status=none",
        packed.display(),
        image.display()
    );
    super::support::ok("sh", &["-c", &script]);
    super::support::assert_clean(&image, "rig");
    let mut fat = open(&image);
    let mut expected = super::support::read_back(&fat);
    super::support::assert_same(&super::support::extract(&image), &expected, "rig");
    put(&mut fat, "/ceil dir.txt", b"new").expect("put");
    fat.append(
        b"/ceil dir.txt",
        &Bytes::shared(b" and more"),
        &super::support::attrs(1_700_000_000),
    )
    .expect("append");
    fat.commit().expect("commit");
    super::support::assert_clean(&image, "edited rig");
    expected.insert(
        "ceil dir.txt".to_owned(),
        Some((b"new and more".to_vec(), 1_700_000_000)),
    );
    super::support::assert_same(&super::support::extract(&image), &expected, "edited rig");
}

fn small_sample(image: &Path) -> Vec<u8> {
    let mut fat = open(image);
    for name in ["/ONE.BIN", "/TWO.BIN", "/a long name.txt"] {
        put(&mut fat, name, &noise(1, 9_000)).expect("put");
    }
    fat.make_dir(b"/SUB", &now()).expect("directory");
    fat.make_dir(b"/SUB/DEEP", &now()).expect("directory");
    fat.commit().expect("commit");
    fs::read(image).expect("image")
}
