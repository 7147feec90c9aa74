//! Writing an overlay out: any shape and format gives the bytes that a plain buffer holds, and a failure leaves what
//! was there.

use std::fs;
use std::io;
use std::iter;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ceil_img::bmap::BLOCK;
use ceil_img::disk::{BlockIo, Bytes, Overlay, Source};
use ceil_img::emit::{EmitError, Emitted, Output, Request, emit};
use ceil_img::plan::OutputFormat;
use ceil_img::report::NoReport;
use ceil_img::values::Digest;

use crate::support::tiny::noise;
use crate::support::tools;

const MIB: u64 = 1 << 20;
const FORMATS: [(OutputFormat, &str); 4] = [
    (OutputFormat::Img, ""),
    (OutputFormat::ImgXz, "xz"),
    (OutputFormat::ImgZst, "zstd"),
    (OutputFormat::ImgGz, "gzip"),
];

/// Bytes of which some ranges are known to be holes, and that stop being readable after some reads.
#[derive(Debug)]
struct Holey {
    bytes: Vec<u8>,
    data: Vec<Range<u64>>,
    good: AtomicU64,
}

impl Holey {
    /// Keeps the given ranges of `bytes`; the rest is holes.
    fn new(mut bytes: Vec<u8>, data: Vec<Range<u64>>, good: u64) -> Arc<Self> {
        let mut at = 0;
        let end = bytes.len() as u64;
        for range in data.iter().cloned().chain(iter::once(end..end)) {
            bytes[at as usize..range.start as usize].fill(0);
            at = range.end;
        }
        Arc::new(Self {
            bytes,
            data,
            good: AtomicU64::new(good),
        })
    }

    fn readable(bytes: Vec<u8>, data: Vec<Range<u64>>) -> Arc<Self> {
        Self::new(bytes, data, u64::MAX)
    }
}

impl Source for Holey {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let left = self
            .good
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if left.is_err() {
            return Err(io::Error::other("the source failed, as the test wanted"));
        }
        let start = usize::try_from(offset).unwrap();
        let end = start + buf.len();
        buf.copy_from_slice(self.bytes.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let next = self.data.iter().find(|r| r.end > offset);
        Ok(next.map(|r| r.start.max(offset)..r.end))
    }
}

/// Numbers from a seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        if end == 0 { 0 } else { self.0 % end }
    }

    /// A range of up to `most` bytes in `0..len`, at times on blocks.
    fn range(&mut self, len: u64, most: u64) -> Range<u64> {
        let grain = [1, 1, 512, BLOCK][self.below(4) as usize];
        let start = self.below(len + 1) / grain * grain;
        start..(start + self.below(most + 1)).min(len)
    }

    /// Ranges as [`ceil_img::image::Image::used_ranges`] gives them: whole blocks, ascending, apart from each other.
    fn used(&mut self, len: u64) -> Vec<Range<u64>> {
        let mut used = Vec::new();
        let mut at = self.below(3) * BLOCK;
        while at < len {
            let most = [1, 3, 300][self.below(3) as usize];
            let end = (at + (1 + self.below(most)) * BLOCK).min(len);
            used.push(at..end);
            at = end + (1 + self.below(most)) * BLOCK;
        }
        used
    }
}

/// An overlay of `len` bytes and the plain buffer that it stands for.
fn overlay(random: &mut Random, len: u64) -> (Overlay, Vec<u8>) {
    let base_len = [len, len / 2, len + 10_000][random.below(3) as usize];
    let mut data = Vec::new();
    let mut at = 0;
    while at < base_len {
        let next = random.range(base_len - at, 2 * MIB);
        if !next.is_empty() {
            data.push(at + next.start..at + next.end);
        }
        at += next.end + 1;
    }
    let base = Holey::readable(noise(base_len as usize), data);
    let mut plain = base.bytes.clone();
    let overlay = Overlay::new(base);
    overlay.set_len(len);
    plain.resize(len as usize, 0);
    let payload = noise(3 * MIB as usize + 77);
    // The second half of the payload is a hole that it knows of.
    let source = Holey::readable(payload, vec![0..MIB + 13, 2 * MIB..2 * MIB + 5]);
    for _ in 0..random.below(30) {
        let most = [5000, MIB, 3 * MIB][random.below(3) as usize];
        let range = random.range(len, most);
        let target = &mut plain[range.start as usize..range.end as usize];
        match random.below(4) {
            0 => {
                overlay
                    .write_zeroes(range.start, range.end - range.start)
                    .unwrap();
                target.fill(0);
            }
            1 => {
                target.fill(random.below(256) as u8);
                overlay.write_at(range.start, target).unwrap();
            }
            2 => {
                target.copy_from_slice(&source.bytes[5..5 + target.len()]);
                overlay.write_at(range.start, target).unwrap();
            }
            _ => {
                let from = random.below(source.bytes.len() as u64 - target.len() as u64 + 1);
                let shared: Arc<dyn Source> = source.clone();
                overlay
                    .write_source(range.start, &shared, from, range.end - range.start)
                    .unwrap();
                target.copy_from_slice(&source.bytes[from as usize..from as usize + target.len()]);
            }
        }
    }
    (overlay, plain)
}

fn write(
    overlay: &Overlay,
    used: &[Range<u64>],
    format: OutputFormat,
    to: &Path,
    cancel: bool,
) -> Result<Emitted, EmitError> {
    let output = Output::create(to)?;
    let emitted = emit(
        &Request {
            overlay,
            used,
            format,
            cancel: &AtomicBool::new(cancel),
            reporter: &NoReport,
        },
        &output,
    )?;
    output.finish()?;
    Ok(emitted)
}

/// The file's content, unpacked by the format's own tool; `None` where it is missing.
fn unpacked(path: &Path, tool: &str) -> Option<Vec<u8>> {
    match tool {
        "" => Some(fs::read(path).unwrap()),
        tool => tools::have(&[tool]).then(|| tools::run(tools::command(tool).arg("-dc").arg(path))),
    }
}

#[test]
fn every_shape_and_format_gives_the_bytes_of_a_plain_buffer() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("one");
    let edges = [
        0,
        1,
        511,
        4095,
        4096,
        4097,
        MIB - 1,
        MIB,
        MIB + 1,
        3 * MIB + 4095,
        5_000_000,
        9 * MIB + 513,
    ];
    for seed in 1..=36u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let len = edges[seed as usize % edges.len()];
        let (overlay, plain) = overlay(&mut random, len);
        let used = random.used(len);
        // The packed formats share everything but the last step: one of them in turn, beside the plain one.
        for (format, tool) in [FORMATS[0], FORMATS[1 + seed as usize / 12 % 3]] {
            let what = format!("seed {seed}, {len} bytes, {format}");
            let emitted = write(&overlay, &used, format, &to, false).unwrap();
            let file = fs::read(&to).unwrap();
            assert_eq!(emitted.raw_digest, Digest::sha256(&plain), "{what}");
            assert_eq!(emitted.file_digest, Digest::sha256(&file), "{what}");
            assert_eq!(emitted.file_len, file.len() as u64, "{what}");
            assert_eq!(emitted.bmap.image_len, len, "{what}");
            if let Some(raw) = unpacked(&to, tool) {
                assert!(raw == plain, "{what}: the bytes differ");
            }
            let mapped: Vec<_> = emitted.bmap.ranges.iter().map(|r| r.bytes.clone()).collect();
            assert_eq!(mapped, used, "{what}");
            for range in &emitted.bmap.ranges {
                let bytes = &plain[range.bytes.start as usize..range.bytes.end as usize];
                assert_eq!(range.digest, Digest::sha256(bytes), "{what}: {:?}", range.bytes);
            }
        }
    }
}

#[test]
fn blocks_of_zeroes_take_no_room_on_the_host() {
    use std::os::unix::fs::MetadataExt as _;
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("one");
    let mut bytes = vec![0; 64 * MIB as usize];
    bytes[20_000_000] = 1;
    let overlay = Overlay::new(Bytes::shared(&bytes));
    write(&overlay, &[], OutputFormat::Img, &to, false).unwrap();
    assert!(fs::read(&to).unwrap() == bytes);
    let taken = fs::metadata(&to).unwrap().blocks() * 512;
    assert!(taken <= 2 * MIB, "{taken} bytes for one that is not zero");
}

/// A folder that holds an older file under the name to be written.
struct Folder {
    dir: PathBuf,
    to: PathBuf,
}

impl Folder {
    fn new(dir: &Path) -> Self {
        let to = dir.join("one.img");
        fs::write(&to, "an older image\n").unwrap();
        Self {
            dir: dir.to_owned(),
            to,
        }
    }

    fn is_untouched(&self, what: &str) {
        assert_eq!(fs::read(&self.to).unwrap(), b"an older image\n", "{what}");
        let names: Vec<_> = fs::read_dir(&self.dir)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, ["one.img"], "{what}");
    }
}

#[test]
fn a_source_that_fails_leaves_the_older_file() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path());
    let len = 7 * MIB + 100;
    let bytes = noise(len as usize);
    let apart = |good| {
        // Data with long holes between, so that each piece is a read of its own.
        let data = (0..7).map(|i| i * MIB + 9..i * MIB + 100_000).collect();
        Holey::new(bytes.clone(), data, good)
    };
    for (format, _) in FORMATS {
        let mut failed = 0;
        for good in 0.. {
            let what = format!("{format}, the base fails after {good} reads");
            let overlay = Overlay::new(apart(good));
            let used: Vec<_> = iter::once(0..len).collect();
            match write(&overlay, &used, format, &folder.dir.join("other"), false) {
                Err(EmitError::Read(error)) => {
                    assert!(error.to_string().contains("as the test wanted"), "{what}");
                    failed += 1;
                    let error = write(&overlay, &used, format, &folder.to, false).unwrap_err();
                    assert!(matches!(error, EmitError::Read(_)), "{what}: {error:?}");
                    folder.is_untouched(&what);
                }
                Err(error) => panic!("{what}: {error:?}"),
                Ok(_) => break,
            }
        }
        assert!(failed >= 4, "{format}: {failed} places to fail at");
        fs::remove_file(folder.dir.join("other")).unwrap();

        // The same of a payload that the overlay refers to.
        for good in 0..2 {
            let what = format!("{format}, a payload fails after {good} reads");
            let overlay = Overlay::new(Bytes::shared(&bytes));
            let payload: Arc<dyn Source> = apart(good);
            overlay.write_source(MIB, &payload, 5, 4 * MIB).unwrap();
            let error = write(&overlay, &[], format, &folder.to, false).unwrap_err();
            assert!(matches!(error, EmitError::Read(_)), "{what}: {error:?}");
            folder.is_untouched(&what);
        }
    }
}

#[test]
fn an_interrupt_leaves_the_older_file() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path());
    for (format, _) in FORMATS {
        let overlay = Overlay::new(Bytes::shared(&noise(3 * MIB as usize)));
        let error = write(&overlay, &[], format, &folder.to, true).unwrap_err();
        assert!(
            matches!(&error, EmitError::Interrupted(path) if *path == folder.to),
            "{error:?}"
        );
        folder.is_untouched(&format.to_string());
    }
}

/// A file system in memory that is full after 1 MiB.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Self {
        let dir = tempfile::tempdir().unwrap();
        tools::run(
            tools::command("mount")
                .args(["-t", "tmpfs", "-o", "size=1m", "none"])
                .arg(dir.path()),
        );
        Self(dir)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let said = tools::output(tools::command("umount").arg(self.0.path()));
        if !said.status.success() {
            eprintln!("umount: {}", String::from_utf8_lossy(&said.stderr));
        }
    }
}

#[test]
fn a_full_disk_leaves_the_older_file_and_names_the_new_one() {
    if !tools::is_root() {
        tools::say("a small file system needs the right to mount");
        return;
    }
    if !tools::have(&["mount", "umount"]) {
        return;
    }
    let small = Small::mount();
    let folder = Folder::new(small.0.path());
    for (format, _) in FORMATS {
        // Enough that the writer hangs up while the reader is still at it, and just too much for the last bytes.
        for len in [16 * MIB, MIB + 5] {
            let what = format!("{format}, {len} bytes");
            let overlay = Overlay::new(Bytes::shared(&noise(len as usize)));
            let used: Vec<_> = iter::once(0..len).collect();
            match write(&overlay, &used, format, &folder.to, false).unwrap_err() {
                EmitError::Write { path, source } => {
                    assert_eq!(path, folder.to, "{what}");
                    assert_eq!(source.kind(), io::ErrorKind::StorageFull, "{what}: {source:?}");
                }
                error => panic!("{what}: {error:?}"),
            }
            folder.is_untouched(&what);
        }
    }
}
