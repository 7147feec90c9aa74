use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::fetch::{
    CachedImage, ChecksumPolicy, FetchError, FetchOptions, FetchRequest, Fetcher, Location, Patience, Result,
};
use crate::report::{Event, Reporter};
use crate::values::Digest;

/// Remembers the sentences and steps it was told.
#[derive(Debug, Default)]
pub struct Heard(pub Mutex<Vec<String>>);

impl Reporter for Heard {
    fn event(&self, event: &Event<'_>) {
        let text = match event {
            Event::Note { text } | Event::Warning { text } => (*text).to_owned(),
            Event::Start { step, total, .. } => format!("start {} {total:?}", step.word()),
            Event::Advance { step, done } => format!("advance {} {done}", step.word()),
            Event::End { step } => format!("end {}", step.word()),
        };
        self.0.lock().unwrap().push(text);
    }
}

impl Heard {
    pub fn has(&self, part: &str) -> bool {
        self.0.lock().unwrap().iter().any(|line| line.contains(part))
    }
}

/// A cache and a working directory that go away with the value.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub heard: Arc<Heard>,
    pub options: FetchOptions,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let heard = Arc::new(Heard::default());
        let mut options = FetchOptions::new(dir.path().join("cache"));
        options.reporter = heard.clone();
        options.patience = Patience {
            // Longer than a busy machine leaves a thread alone.
            stall: Duration::from_secs(20),
            retries: 2,
            first_pause: Duration::from_millis(2),
            longest_pause: Duration::from_millis(200),
        };
        Self { dir, heard, options }
    }

    pub fn fetcher(&self) -> Fetcher {
        Fetcher::new(self.options.clone()).unwrap()
    }

    pub fn fetch_url(&self, url: &str, expected: ChecksumPolicy) -> Result<CachedImage> {
        self.fetcher()
            .fetch_base(&FetchRequest::new(Location::Url(url.to_owned()), expected))
    }

    pub fn file(&self, name: &str, data: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, data).unwrap();
        path
    }

    pub fn fetch_path(&self, path: &Path, expected: ChecksumPolicy) -> Result<CachedImage> {
        self.fetcher()
            .fetch_base(&FetchRequest::new(Location::Path(path.to_owned()), expected))
    }

    /// Names of everything in a directory of the cache.
    pub fn names(&self, dir: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.options.cache_dir.join(dir)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// No object, no record, no file on its way.
    pub fn is_untouched(&self) -> bool {
        ["raw", "blob", "index"]
            .iter()
            .all(|dir| self.names(dir).is_empty())
    }
}

/// A raw image: an MBR signature, noise that does not compress, zeroes, and text that does.
pub fn raw_image(len: usize) -> Vec<u8> {
    let mut data = vec![0u8; len];
    data[510..512].copy_from_slice(&[0x55, 0xAA]);
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for byte in &mut data[4096..len / 4] {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state as u8;
    }
    for (i, byte) in data[len / 2..len * 5 / 8].iter_mut().enumerate() {
        *byte = b"boards and cards\n"[i % 17];
    }
    data[len - 1] = 1;
    data
}

/// The output of a tool that is fed `input`.
pub fn through(tool: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(tool)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{tool}: {e}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &input));
    let output = child.wait_with_output().unwrap();
    let _ = feeder.join();
    assert!(output.status.success(), "{tool} failed");
    output.stdout
}

/// Packs `data` with real tools; `name` is one of [`PACKINGS`].
pub fn pack(name: &str, data: &[u8]) -> Vec<u8> {
    let halves = data.split_at(data.len() / 2 + 1);
    let twice = |tool: &str, args: &[&str]| {
        let mut all = through(tool, args, halves.0);
        all.extend(through(tool, args, halves.1));
        all
    };
    match name {
        "raw" => data.to_vec(),
        "xz" => through("xz", &["-6", "-c"], data),
        "xz blocks" => through("xz", &["-1", "--block-size=300000", "-T2", "-c"], data),
        "xz streams" => twice("xz", &["-1", "-c"]),
        "gz" => through("gzip", &["-1", "-c"], data),
        "gz members" => twice("gzip", &["-1", "-c"]),
        "zst" => through("zstd", &["-1", "-c", "-q"], data),
        "zst frames" => twice("zstd", &["-1", "-c", "-q"]),
        "bz2" => through("bzip2", &["-1", "-c"], data),
        "bz2 streams" => twice("bzip2", &["-1", "-c"]),
        "zip" => zip_of(&[("card.img", data)]),
        "zip stored" => zip_with(&[("card.img", data)], &["-0"]),
        other => panic!("no packing {other}"),
    }
}

pub const PACKINGS: [&str; 12] = [
    "raw",
    "xz",
    "xz blocks",
    "xz streams",
    "gz",
    "gz members",
    "zst",
    "zst frames",
    "bz2",
    "bz2 streams",
    "zip",
    "zip stored",
];

pub fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    zip_with(files, &["-1"])
}

fn zip_with(files: &[(&str, &[u8])], args: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    for (name, data) in files {
        std::fs::write(dir.path().join(name), data).unwrap();
    }
    let names: Vec<&str> = files.iter().map(|f| f.0).collect();
    let status = Command::new("zip")
        .current_dir(dir.path())
        .args(["-q", "-X"])
        .args(args)
        .arg("a.zip")
        .args(&names)
        .status()
        .unwrap();
    assert!(status.success());
    std::fs::read(dir.path().join("a.zip")).unwrap()
}

/// What `sha256sum` says.
pub fn sha256sum(data: &[u8]) -> Digest {
    let text = through("sha256sum", &[], data);
    String::from_utf8(text).unwrap()[..64].parse().unwrap()
}

pub fn pinned(compressed: Option<Digest>, raw: Option<Digest>) -> ChecksumPolicy {
    ChecksumPolicy {
        compressed,
        raw,
        ..ChecksumPolicy::default()
    }
}

/// The words of an error that must be one.
pub fn words(result: Result<CachedImage>) -> String {
    match result {
        Ok(image) => panic!("should have failed: {image:?}"),
        Err(e) => e.to_string(),
    }
}

/// Fails unless this is an error of the wrong digest.
pub fn assert_mismatch(result: Result<CachedImage>, expected: &Digest, found: &Digest) {
    match result {
        Err(FetchError::Mismatch {
            expected: e,
            found: f,
            ..
        }) => assert_eq!((&e, &f), (expected, found)),
        other => panic!("should be a mismatch: {other:?}"),
    }
}
