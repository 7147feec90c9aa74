//! Members of tar archives, taken into the cache by digest. Nothing is unpacked to the names in an archive, and still
//! an archive that holds a name, a link or a device that reaches out of it is refused as a whole: it is not what it
//! was taken for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tar::EntryType;

use super::error::{FetchError, Result};
use super::request::CachedFile;
use super::sink::{PourError, PourOptions, pour};
use super::store::{ObjectKind, read_json, write_json};
use super::unpack::{Format, decoder};
use super::{Fetcher, Held};
use crate::values::{ByteSize, Digest};

/// An archive unpacks to no more than this.
const MAX_UNPACKED: u64 = 16 * ByteSize::GIB;
/// More members than this are refused.
const MAX_MEMBERS: usize = 100_000;
/// Longest name, and longest extended header, in bytes.
const MAX_NAME: usize = 4096;
const MAX_EXTENDED: u64 = 64 << 10;
/// Links are followed no further than this.
const MAX_HOPS: usize = 40;
const BUFFER: usize = 256 << 10;

/// A file of an archive, in the cache.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name without `./`.
    pub name: String,
    /// Whether the archive has it executable for anyone.
    pub executable: bool,
    /// The file, verified.
    pub file: CachedFile,
}

/// What an archive lists, links resolved; and the files that were taken out so far.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Listing {
    /// Each file and each link, with the file that holds its bytes.
    names: BTreeMap<String, String>,
    executable: BTreeSet<String>,
    /// SHA-256 of files, as text.
    taken: BTreeMap<String, String>,
}

/// One member as its headers describe it.
#[derive(Debug)]
enum Thing {
    File {
        executable: bool,
    },
    /// The name that it stands for.
    Link(String),
    Directory,
}

impl Fetcher {
    /// The files of a tar archive (plain, or packed as gzip, xz, Zstandard or bzip2) whose names `wanted` picks, in
    /// the order of their names. Links inside the archive count as the file they lead to. Each file is taken out
    /// once and kept by its digest.
    ///
    /// # Errors
    ///
    /// When the archive is damaged, too large, or holds anything that reaches out of it: absolute names, `..`,
    /// links outwards, devices.
    pub fn members(&self, archive: &CachedFile, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Member>> {
        let record = self.listing_path(&archive.digest);
        let _lock = self.lock(
            &format!("members-{}", archive.digest.hex()),
            &archive.path.display().to_string(),
        )?;
        let mut listing = match read_json::<Listing>(&record) {
            Some(listing) => listing,
            None => self.list(archive)?,
        };
        let names: Vec<(String, String)> = listing
            .names
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, file)| (name.clone(), file.clone()))
            .collect();
        let mut held: BTreeMap<String, CachedFile> = BTreeMap::new();
        let mut missing: BTreeSet<String> = BTreeSet::new();
        for (_, file) in &names {
            match self.taken(&listing, file, archive)? {
                Some(there) => drop(held.insert(file.clone(), there)),
                None => drop(missing.insert(file.clone())),
            }
        }
        if !missing.is_empty() {
            self.walk(archive, &mut |name, thing, data| {
                if matches!(thing, Thing::File { .. }) && missing.remove(&name) {
                    let file = self.take_out(&name, data, archive)?;
                    listing.taken.insert(name.clone(), file.digest.hex());
                    held.insert(name, file);
                }
                Ok(())
            })?;
        }
        write_json(&record, &listing)?;
        names
            .into_iter()
            .map(|(name, file)| {
                let cached = held
                    .get(&file)
                    .ok_or_else(|| refused(archive, format!("it lists `{file}` and does not hold it")))?;
                Ok(Member {
                    executable: listing.executable.contains(&file),
                    file: cached.clone(),
                    name,
                })
            })
            .collect()
    }

    /// The same when all of them were taken out before; `None` otherwise. Writes nothing.
    ///
    /// # Errors
    ///
    /// When the cache cannot be read.
    pub fn known_members(
        &self,
        archive: &CachedFile,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Option<Vec<Member>>> {
        let Some(listing) = read_json::<Listing>(&self.listing_path(&archive.digest)) else {
            return Ok(None);
        };
        let mut found = Vec::new();
        for (name, file) in listing.names.iter().filter(|(name, _)| wanted(name)) {
            let Some(held) = self.taken(&listing, file, archive)? else {
                return Ok(None);
            };
            found.push(Member {
                executable: listing.executable.contains(file),
                file: held,
                name: name.clone(),
            });
        }
        Ok(Some(found))
    }

    fn listing_path(&self, archive: &Digest) -> PathBuf {
        self.store
            .root()
            .join("index")
            .join(format!("{LISTING}{}.json", archive.hex()))
    }

    fn taken(&self, listing: &Listing, file: &str, archive: &CachedFile) -> Result<Option<CachedFile>> {
        let digest = listing
            .taken
            .get(file)
            .and_then(|text| text.parse::<Digest>().ok());
        let Some(digest) = digest else {
            return Ok(None);
        };
        match self.store.object(ObjectKind::Blob, &digest)? {
            Some(held) => cached(held, digest, archive, true).map(Some),
            None => Ok(None),
        }
    }

    fn take_out(&self, name: &str, data: &mut dyn Read, archive: &CachedFile) -> Result<CachedFile> {
        let new = self.store.incoming(ObjectKind::Blob)?;
        let options = PourOptions {
            also: &[],
            limit: MAX_UNPACKED,
            image: false,
        };
        let poured = pour(data, &new.file, options).map_err(|error| match error {
            PourError::Write(e) => FetchError::io("writing", &new.path, e),
            PourError::Read(e) => self.bad_read(&e, archive),
            PourError::NotAnImage(reason) => refused(archive, reason),
            PourError::TooLarge => too_large(archive),
        })?;
        let digest = poured.digests[0].clone();
        let origin = format!("{}!{name}", archive.path.display());
        let held = self.store.keep(ObjectKind::Blob, &digest, new, &origin)?;
        cached(held, digest, archive, false)
    }

    /// Reads every header, and refuses what a member must not be.
    fn list(&self, archive: &CachedFile) -> Result<Listing> {
        let mut files = BTreeSet::new();
        let mut links = BTreeMap::new();
        let mut listing = Listing::default();
        self.walk(archive, &mut |name, thing, _| {
            let new = match thing {
                Thing::Directory => true,
                Thing::File { executable } => {
                    if executable {
                        listing.executable.insert(name.clone());
                    }
                    !links.contains_key(&name) && files.insert(name.clone())
                }
                Thing::Link(target) => !files.contains(&name) && links.insert(name.clone(), target).is_none(),
            };
            if new {
                Ok(())
            } else {
                Err(refused(archive, format!("it holds `{name}` twice")))
            }
        })?;
        for name in files.iter().chain(links.keys()) {
            let mut at = name;
            for _ in 0..MAX_HOPS {
                match links.get(at) {
                    Some(next) => at = next,
                    None => break,
                }
            }
            // A link to a folder, or to nothing, is no file.
            if files.contains(at) {
                listing.names.insert(name.clone(), at.clone());
            }
        }
        Ok(listing)
    }

    /// Hands every member to `each`, with its name made plain.
    fn walk(
        &self,
        archive: &CachedFile,
        each: &mut dyn FnMut(String, Thing, &mut dyn Read) -> Result<()>,
    ) -> Result<()> {
        let bad = |e: io::Error| self.bad_read(&e, archive);
        let whole = At {
            file: Arc::clone(archive.file()),
            pos: 0,
        };
        let mut input = BufReader::with_capacity(BUFFER, whole);
        let format = Format::of(input.fill_buf().map_err(bad)?);
        if format == Format::Zip {
            return Err(FetchError::Unsupported {
                subject: archive.path.display().to_string(),
                detail: "it is a zip archive; members are taken from tar archives".to_owned(),
            });
        }
        let bounded = Bounded {
            inner: decoder(format, input, self.xz_limits()).map_err(bad)?,
            left: MAX_UNPACKED,
            fetcher: self,
        };
        let mut tar = tar::Archive::new(bounded);
        let mut extended = Extended::default();
        let mut count = 0;
        for entry in tar.entries().map_err(bad)?.raw(true) {
            let mut entry = entry.map_err(bad)?;
            count += 1;
            if count > MAX_MEMBERS {
                return Err(refused(
                    archive,
                    format!("it has more than {MAX_MEMBERS} members"),
                ));
            }
            let kind = entry.header().entry_type();
            if extended.take(kind, &mut entry, archive, &bad)? {
                continue;
            }
            let from_pax = std::mem::take(&mut extended);
            let name = from_pax
                .name
                .unwrap_or_else(|| entry.header().path_bytes().into_owned());
            let shown = String::from_utf8_lossy(&name).into_owned();
            let plain = |name: &[u8]| inside(name, "").map_err(|why| refused(archive, why));
            let target = || {
                from_pax
                    .link
                    .clone()
                    .or_else(|| entry.header().link_name_bytes().map(std::borrow::Cow::into_owned))
                    .unwrap_or_default()
            };
            let executable = entry.header().mode().map_err(bad)? & 0o111 != 0;
            let thing = match kind {
                EntryType::Directory => Thing::Directory,
                EntryType::Regular | EntryType::Continuous if shown.ends_with('/') => Thing::Directory,
                EntryType::Regular | EntryType::Continuous => Thing::File { executable },
                EntryType::Link => Thing::Link(plain(&target())?),
                EntryType::Symlink => {
                    let folder = shown.rsplit_once('/').map_or("", |(folder, _)| folder);
                    let to = target();
                    let to = inside(&to, folder)
                        .map_err(|why| refused(archive, format!("the link `{shown}` leads out: {why}")))?;
                    Thing::Link(to)
                }
                other => {
                    let what = match other {
                        EntryType::Char | EntryType::Block => "a device",
                        EntryType::Fifo => "a pipe",
                        EntryType::GNUSparse => "a sparse file in an old form",
                        _ => "of an unknown kind",
                    };
                    return Err(refused(archive, format!("its member `{shown}` is {what}")));
                }
            };
            let name = plain(&name)?;
            if name.is_empty() && !matches!(thing, Thing::Directory) {
                return Err(refused(archive, "it has a file without a name".to_owned()));
            }
            each(name, thing, &mut entry)?;
        }
        if count == 0 {
            return Err(refused(archive, "it is empty, or no tar archive".to_owned()));
        }
        Ok(())
    }

    fn bad_read(&self, error: &io::Error, archive: &CachedFile) -> FetchError {
        if self.cancelled() {
            return FetchError::Cancelled;
        }
        if error.get_ref().is_some_and(|inner| inner.is::<TooMuch>()) {
            return too_large(archive);
        }
        FetchError::Damaged {
            subject: archive.path.display().to_string(),
            detail: error.to_string(),
        }
    }
}

/// How the names of these records begin.
pub(super) const LISTING: &str = "members-";

/// What headers say that stand before the one they are about.
#[derive(Debug, Default)]
struct Extended {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Extended {
    /// Takes such a header in; `false` for any other one.
    fn take(
        &mut self,
        kind: EntryType,
        entry: &mut impl Read,
        archive: &CachedFile,
        bad: &dyn Fn(io::Error) -> FetchError,
    ) -> Result<bool> {
        if kind == EntryType::XGlobalHeader {
            return Ok(true);
        }
        if !matches!(
            kind,
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader
        ) {
            return Ok(false);
        }
        let mut bytes = Vec::new();
        entry
            .take(MAX_EXTENDED + 1)
            .read_to_end(&mut bytes)
            .map_err(bad)?;
        if bytes.len() as u64 > MAX_EXTENDED {
            return Err(refused(
                archive,
                format!("it has a header of more than {MAX_EXTENDED} bytes"),
            ));
        }
        let text = |bytes: &[u8]| bytes.strip_suffix(b"\0").unwrap_or(bytes).to_vec();
        match kind {
            EntryType::GNULongName => self.name = Some(text(&bytes)),
            EntryType::GNULongLink => self.link = Some(text(&bytes)),
            _ => {
                for pair in tar::PaxExtensions::new(&bytes) {
                    let pair = pair.map_err(bad)?;
                    match pair.key_bytes() {
                        b"path" => self.name = Some(text(pair.value_bytes())),
                        b"linkpath" => self.link = Some(text(pair.value_bytes())),
                        key if key == b"size" || key.starts_with(b"GNU.sparse") => {
                            return Err(refused(
                                archive,
                                "it has a member of more than 8 GiB, or a sparse one".to_owned(),
                            ));
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(true)
    }
}

/// A name as it counts from the top of the archive, or why it leads out. `folder` is where it is read from.
fn inside(name: &[u8], folder: &str) -> std::result::Result<String, String> {
    let Ok(text) = std::str::from_utf8(name) else {
        return Err(format!(
            "the name `{}` is not UTF-8",
            String::from_utf8_lossy(name)
        ));
    };
    if text.len() > MAX_NAME {
        return Err(format!("a name is longer than {MAX_NAME} bytes"));
    }
    if text.contains(char::is_control) {
        return Err(format!("the name {text:?} holds a control character"));
    }
    if text.starts_with('/') {
        return Err(format!("the name `{text}` is absolute"));
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(text.split('/')) {
        match part {
            "" | "." => {}
            // Only a link may go up, and not past the top.
            ".." if !folder.is_empty() && !parts.is_empty() => drop(parts.pop()),
            ".." => return Err(format!("the name `{text}` goes up")),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

fn cached(held: Held, digest: Digest, archive: &CachedFile, from_cache: bool) -> Result<CachedFile> {
    let meta = held
        .file
        .metadata()
        .map_err(|e| FetchError::io("reading", &held.path, e))?;
    Ok(CachedFile {
        len: meta.len(),
        path: held.path,
        digest,
        from_cache,
        verified: archive.verified,
        held: Arc::new(held.file),
    })
}

fn refused(archive: &CachedFile, detail: String) -> FetchError {
    FetchError::Archive {
        subject: archive.path.display().to_string(),
        detail,
    }
}

fn too_large(archive: &CachedFile) -> FetchError {
    FetchError::TooLarge {
        subject: archive.path.display().to_string(),
        limit: ByteSize(MAX_UNPACKED),
    }
}

/// A file read from front to back by position, so that others may read it too.
struct At {
    file: Arc<File>,
    pos: u64,
}

impl Read for At {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.pos)?;
        self.pos += n as u64;
        Ok(n)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("too much")]
struct TooMuch;

/// Ends with an error where an archive unpacks to too much, or the user wants to stop.
struct Bounded<'a, R> {
    inner: R,
    left: u64,
    fetcher: &'a Fetcher,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.fetcher.cancelled() {
            return Err(io::Error::other("stopped"));
        }
        let n = self.inner.read(buf)?;
        self.left = self
            .left
            .checked_sub(n as u64)
            .ok_or_else(|| io::Error::other(TooMuch))?;
        Ok(n)
    }
}
