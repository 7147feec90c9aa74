//! What an edit list should leave on the FAT: names and contents, and the two texts that the firmware reads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ceil_img::plan::Op;
use ceil_img::values::{Digest, ImagePath, VolumeName};

use super::interpret::bytes_of;
use super::model::{ReadBase, Tree};

#[derive(Debug, Clone)]
enum Body {
    /// A file of the base: its name there, and its digest.
    Known(String, Digest),
    Bytes(Vec<u8>),
}

/// The files by path with a leading slash, and when they were changed: `None` for a time of the base.
#[derive(Clone)]
pub struct Boot {
    files: BTreeMap<String, (Body, i64)>,
    dirs: BTreeSet<String>,
    now: i64,
    cmdline: String,
    config: String,
    words: Vec<String>,
    settings: BTreeMap<(String, String), String>,
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

impl Boot {
    /// The base as mtools saw it.
    pub fn new(view: &BTreeMap<PathBuf, (Digest, i64)>, now: i64, read: ReadBase<'_>) -> Self {
        let files: BTreeMap<String, (Body, i64)> = view
            .iter()
            .map(|(path, (digest, time))| {
                let path = format!("/{}", path.to_str().unwrap());
                (path.clone(), (Body::Known(path, digest.clone()), *time))
            })
            .collect();
        let mut dirs = BTreeSet::from([String::new()]);
        for path in files.keys() {
            let mut up = parent(path);
            while !up.is_empty() {
                dirs.insert(up.to_owned());
                up = parent(up);
            }
        }
        let named = |wanted: &str| {
            let found = files.keys().find(|p| p.eq_ignore_ascii_case(wanted));
            found.cloned().unwrap()
        };
        let (cmdline, config) = (named("/cmdline.txt"), named("/config.txt"));
        let line = String::from_utf8(read(&cmdline)).unwrap();
        Self {
            words: line.split_whitespace().map(str::to_owned).collect(),
            files,
            dirs,
            now,
            cmdline,
            config,
            settings: BTreeMap::new(),
        }
    }

    /// Files that an edit may be about.
    pub fn files(&self) -> Vec<String> {
        let kept = [&self.cmdline, &self.config];
        self.files.keys().filter(|p| !kept.contains(p)).cloned().collect()
    }

    pub fn dirs(&self) -> Vec<String> {
        self.dirs.iter().cloned().collect()
    }

    /// Where an edit's path leads, when that is the FAT.
    fn place(&self, at: &ImagePath, root: &Tree, last: bool) -> Option<String> {
        match root.place(at, last)? {
            (VolumeName::Boot, path) => String::from_utf8(path).ok(),
            (VolumeName::Root, _) => None,
        }
    }

    fn free(&self, path: &str) -> Option<()> {
        let mut up = parent(path);
        while !self.dirs.contains(up) {
            if self.files.contains_key(up) {
                return None;
            }
            up = parent(up);
        }
        // Names that differ in case alone are one name on a FAT.
        let same = |p: &String| p.eq_ignore_ascii_case(path);
        (!self.files.keys().any(same) && !self.dirs.iter().any(same)).then_some(())
    }

    fn make_parents(&mut self, path: &str) {
        let mut up = parent(path);
        while self.dirs.insert(up.to_owned()) {
            up = parent(up);
        }
    }

    /// Does what one edit says; `None` when it is not about the FAT, or would be refused.
    pub fn apply(&mut self, op: &Op, root: &Tree, read: ReadBase<'_>) -> Option<()> {
        match op {
            Op::Put { at, content, .. } => {
                let path = self.place(at, root, false)?;
                if !self.files.contains_key(&path) {
                    self.free(&path)?;
                    self.make_parents(&path);
                }
                self.files
                    .insert(path, (Body::Bytes(bytes_of(content)), self.now));
            }
            Op::Dir { at, .. } => {
                let path = self.place(at, root, false)?;
                if !self.dirs.contains(&path) {
                    self.free(&path)?;
                    self.make_parents(&path);
                    self.dirs.insert(path);
                }
            }
            Op::Append { at, content } => {
                let path = self.place(at, root, true)?;
                let mut bytes = match &self.files.get(&path)?.0 {
                    Body::Bytes(bytes) => bytes.clone(),
                    Body::Known(name, _) => read(name),
                };
                bytes.extend(bytes_of(content));
                self.files.insert(path, (Body::Bytes(bytes), self.now));
            }
            Op::Rename { from, to } => {
                let old = self.place(from, root, false)?;
                let new = self.place(to, root, false)?;
                self.files.get(&old)?;
                self.free(&new)?;
                self.make_parents(&new);
                let moved = self.files.remove(&old)?;
                self.files.insert(new, moved);
            }
            Op::Remove { at, .. } => {
                let path = self.place(at, root, false)?;
                self.files.remove(&path)?;
            }
            Op::KernelArgs { add, remove } => {
                let gone = |word: &String| {
                    remove
                        .iter()
                        .any(|r| word == r || !r.contains('=') && word.split('=').next() == Some(r))
                };
                self.words.retain(|word| !gone(word));
                for word in add {
                    if !self.words.contains(word) {
                        self.words.push(word.clone());
                    }
                }
            }
            Op::ConfigTxt { section, set, .. } => {
                for (key, value) in set {
                    self.settings
                        .insert((section.clone(), key.clone()), value.clone());
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Compares with what mtools see now.
    pub fn compare(
        &self,
        what: &str,
        base: &str,
        seen: &BTreeMap<PathBuf, (Digest, i64)>,
        read: ReadBase<'_>,
    ) {
        let line = String::from_utf8(read(&self.cmdline)).unwrap();
        assert_eq!(
            line.split_whitespace().collect::<Vec<_>>(),
            self.words,
            "{what}: {}",
            self.cmdline
        );
        assert_eq!(line.matches('\n').count(), 1, "{what}: {}", self.cmdline);
        self.compare_config(what, base, &String::from_utf8(read(&self.config)).unwrap());
        let kept = [&self.cmdline, &self.config];
        let seen: BTreeMap<String, (Digest, i64)> = seen
            .iter()
            .map(|(path, found)| (format!("/{}", path.to_str().unwrap()), found.clone()))
            .filter(|(path, _)| !kept.contains(&path))
            .collect();
        let expected: BTreeMap<String, (Digest, i64)> = self
            .files
            .iter()
            .filter(|(path, _)| !kept.contains(path))
            .map(|(path, (body, time))| {
                let digest = match body {
                    Body::Known(_, digest) => digest.clone(),
                    Body::Bytes(bytes) => Digest::sha256(bytes),
                };
                (path.clone(), (digest, *time))
            })
            .collect();
        for path in expected.keys().chain(seen.keys()) {
            assert_eq!(
                expected.get(path),
                seen.get(path),
                "{what}: boot:{path}, expected and seen"
            );
        }
    }

    /// Every setting counts in its section, and no line of the base went or moved.
    fn compare_config(&self, what: &str, base: &str, text: &str) {
        let mut section = "all".to_owned();
        let mut found = BTreeMap::new();
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']').to_owned();
            } else if let Some((key, value)) = line.split_once('=').filter(|(k, _)| k.starts_with("ceil_")) {
                found.insert((section.clone(), key.to_owned()), value.to_owned());
            }
        }
        assert_eq!(found, self.settings, "{what}: {text}");
        let mut lines = text.lines();
        for line in base.lines() {
            assert!(
                lines.any(|l| l == line),
                "{what}: {line:?} is gone or moved in\n{text}"
            );
        }
    }
}
