//! What every command needs from the world: flags, cache, progress, interrupt.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::args::Global;
use super::locked::Locking;
use super::message::Failure;
use super::progress::Progress;
use super::terminal;
use crate::base_os::{self, BaseFacts};
use crate::catalog::Catalog;
use crate::demo;
use crate::disk::{Bytes, Source};
use crate::edit::Places;
use crate::fetch::{
    ChecksumPolicy, FetchError, FetchOptions, FetchRequest, Fetcher, FilePool, FileSource, Format, Location,
    PublishedSums,
};
use crate::image::Image;
use crate::plan::{BasePlace, BaseRef, Content};
use crate::report::{Event, Reporter};
use crate::spec::parse_time;
use crate::values::{ChecksumState, Digest, Timestamp, VolumeName};

/// The world as the flags and the environment say.
#[derive(Debug)]
pub struct Context {
    /// Print JSON.
    pub json: bool,
    /// No progress and no notes.
    pub quiet: bool,
    /// Open no connection.
    pub offline: bool,
    /// The cache directory.
    pub cache: PathBuf,
    /// Pairs of URL prefixes.
    mirrors: Vec<(String, String)>,
    /// Set by Ctrl-C.
    pub cancel: Arc<AtomicBool>,
    /// Where progress goes.
    pub reporter: Arc<Progress>,
    /// `SOURCE_DATE_EPOCH`, where set.
    source_date_epoch: Option<String>,
    /// The lock that inputs go through, where there is one.
    pub(super) lock: RefCell<Option<Locking>>,
}

/// A base that is at hand and verified.
#[derive(Debug)]
pub struct Base {
    /// Its bytes.
    pub source: Arc<dyn Source>,
    /// The raw file that holds them, where there is one.
    pub file: Option<PathBuf>,
    /// SHA-256 of the raw image.
    pub raw_digest: Digest,
    /// Length of the raw image.
    pub raw_len: u64,
    /// Digest of the file as it came, where it was packed.
    pub download_digest: Option<Digest>,
    /// How far it can be trusted.
    pub verified: ChecksumState,
    /// Whether nothing had to be fetched or unpacked.
    pub from_cache: bool,
    /// Name for the manifest: a catalog name, a URL or a file name.
    pub name: String,
}

impl Base {
    /// An image that is taken as it is: its digest is not asked for, only what becomes of it matters.
    #[must_use]
    pub fn as_it_is(source: Arc<dyn Source>, name: String) -> Self {
        Self {
            raw_len: source.len(),
            source,
            file: None,
            raw_digest: Digest::sha256(b""),
            download_digest: None,
            verified: ChecksumState::None,
            from_cache: false,
            name,
        }
    }
}

impl Context {
    /// From the flags; the environment is read here and nowhere else.
    ///
    /// # Errors
    /// No cache directory can be named.
    pub fn new(global: &Global) -> Result<Self, Failure> {
        let env = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
        let cache = match &global.cache {
            Some(dir) => dir.clone(),
            None => env("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .filter(|dir| dir.is_absolute())
                .or_else(|| env("HOME").map(|home| PathBuf::from(home).join(".cache")))
                .map(|dir| dir.join("ceil-img"))
                .ok_or_else(|| {
                    Failure::new("there is no place for the cache: HOME is not set")
                        .hint("give a directory with `--cache`")
                })?,
        };
        let cancel = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&cancel);
        // The first interrupt asks everything to stop and clean up, the second one does not wait for that; who is
        // asked for a secret has nothing to clean up but the terminal.
        let handler = move || {
            let asked = terminal::restore();
            if flag.swap(true, std::sync::atomic::Ordering::Relaxed) || asked {
                std::process::exit(130);
            }
        };
        if let Err(error) = ctrlc::set_handler(handler) {
            return Err(Failure::from(error).while_doing("cannot watch for interrupts"));
        }
        Ok(Self {
            json: global.json,
            quiet: global.quiet,
            offline: global.offline,
            mirrors: global.mirror.clone(),
            cache,
            cancel,
            reporter: Arc::new(Progress::new(global.json, global.quiet)),
            source_date_epoch: std::env::var("SOURCE_DATE_EPOCH").ok(),
            lock: RefCell::new(None),
        })
    }

    /// The build epoch of the environment, where it has one.
    ///
    /// # Errors
    /// It is no time.
    pub fn source_date_epoch(&self) -> Result<Option<Timestamp>, Failure> {
        self.source_date_epoch
            .as_deref()
            .map(|text| {
                parse_time(text).map_err(|e| Failure::from(e).while_doing("SOURCE_DATE_EPOCH is wrong"))
            })
            .transpose()
    }

    /// A sentence worth knowing.
    pub fn note(&self, text: &str) {
        self.reporter.event(&Event::Note { text });
    }

    /// A sentence that prevents a surprise.
    pub fn warn(&self, text: &str) {
        self.reporter.event(&Event::Warning { text });
    }

    /// The fetch room over the cache.
    ///
    /// # Errors
    /// The cache directory cannot be made.
    pub fn fetcher(&self) -> Result<Fetcher, Failure> {
        let reporter: Arc<dyn Reporter> = self.reporter.clone();
        Ok(Fetcher::new(FetchOptions {
            offline: self.offline,
            mirrors: self.mirrors.clone(),
            reporter,
            cancel: Arc::clone(&self.cancel),
            ..FetchOptions::new(&self.cache)
        })?)
    }

    /// The catalog: built-in entries and those of `images.yaml` in the user's configuration directory.
    ///
    /// # Errors
    /// The user's file is wrong.
    pub fn catalog(&self) -> Result<Catalog, Failure> {
        let dir = std::env::var_os("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .filter(|dir| dir.is_absolute())
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
        let catalog = Catalog::builtin()?;
        if let Some(file) = dir.map(|dir| dir.join("ceil-img").join("images.yaml")) {
            match std::fs::read_to_string(&file) {
                Ok(text) => return Ok(catalog.with_user_file(&text, &file.display().to_string())?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(Failure::from(error).while_doing(format!("cannot read `{}`", file.display())));
                }
            }
        }
        Ok(catalog)
    }

    /// Opens an image to read: a raw file as it is, a compressed one through the cache, `demo` from memory.
    ///
    /// # Errors
    /// It cannot be read, or is no image.
    pub fn open_image(&self, path: &Path) -> Result<Image, Failure> {
        let what = || format!("cannot open `{}`", path.display());
        let (source, _) = self.image_source(path).map_err(|e| e.while_doing(what()))?;
        let image = Image::open(source).map_err(|e| Failure::from(e).while_doing(what()))?;
        self.tell_recovered(&image, &path.display().to_string());
        Ok(image)
    }

    /// Says which file systems of an image were not unmounted cleanly, and what was done about it in memory.
    pub fn tell_recovered(&self, image: &Image, name: &str) {
        for (number, done) in &image.recovered {
            self.note(&format!(
                "partition {number} of `{name}` was not unmounted cleanly; it is taken as a mount would make it: {done}"
            ));
        }
    }

    /// The raw bytes of an image file, and whether the file is packed (by its content, not by its name).
    ///
    /// # Errors
    /// As [`Context::open_image`].
    pub fn image_source(&self, path: &Path) -> Result<(Arc<dyn Source>, bool), Failure> {
        if let Some(device) = super::card::device_source(path)? {
            return Ok((device, false));
        }
        let held = FileSource::held(path)?;
        let mut head = [0; 512];
        let len = head.len().min(usize::try_from(held.len()).unwrap_or(usize::MAX));
        held.read_at(0, &mut head[..len])?;
        if Format::of(&head[..len]) == Format::Raw {
            return Ok((Arc::new(held), false));
        }
        let request = FetchRequest::new(Location::Path(path.to_owned()), ChecksumPolicy::default());
        let cached = self.fetcher()?.fetch_base(&request).map_err(fetch_failure)?;
        Ok((Arc::new(FileSource::cached(&cached)?), true))
    }

    /// Brings a base here, verified.
    ///
    /// # Errors
    /// It cannot be fetched, or is not what it should be.
    pub fn base(&self, base: &BaseRef) -> Result<Base, Failure> {
        if is_demo(base) {
            return demo_base();
        }
        let wanted = self.base_wanted(base)?;
        if let BasePlace::Name(name) = &base.place
            && let Some(why) = &self.catalog()?.lookup(name)?.faulty
        {
            self.warn(&format!("the base `{name}` is known to be faulty: {why}"));
        }
        let cached = self.fetcher()?.fetch_base(&wanted.request).map_err(|e| {
            wanted
                .failure(e)
                .while_doing(format!("{}: cannot get the base `{}`", base.origin, base.place))
        })?;
        self.record_base(&wanted, &cached)?;
        let name = match &base.place {
            BasePlace::Path(path) => path
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            place => place.to_string(),
        };
        Ok(Base {
            source: Arc::new(FileSource::cached(&cached)?),
            file: Some(std::path::absolute(&cached.raw_path)?),
            raw_digest: cached.raw_digest.clone(),
            raw_len: cached.raw_len,
            download_digest: cached.download_digest.clone().filter(|d| *d != cached.raw_digest),
            verified: wanted.verified(cached.verified),
            from_cache: cached.from_cache,
            name,
        })
    }

    /// A base that is already at hand, opened: nothing is fetched, unpacked or written.
    ///
    /// # Errors
    /// The base is there but cannot be read.
    pub fn image_at_hand(&self, base: &BaseRef) -> Result<Option<Image>, Failure> {
        let source: Arc<dyn Source> = if is_demo(base) {
            demo::image()?
        } else {
            let request = self.base_wanted(base)?.request;
            // Opening the cache would make its directories.
            if !self.cache.is_dir() {
                return Ok(None);
            }
            match self.fetcher()?.known_base(&request)? {
                Some(cached) => Arc::new(FileSource::cached(&cached)?),
                None => return Ok(None),
            }
        };
        let image = Image::open(source)?;
        self.tell_recovered(&image, &base.place.to_string());
        Ok(Some(image))
    }

    /// What is asked of the fetch room for a base when there is no lock.
    ///
    /// # Errors
    /// The catalog has no such name.
    pub fn base_request(&self, base: &BaseRef) -> Result<FetchRequest, Failure> {
        let mut request = match &base.place {
            BasePlace::Path(path) => {
                FetchRequest::new(Location::Path(path.clone()), ChecksumPolicy::default())
            }
            BasePlace::Url(url) => FetchRequest::new(Location::Url(url.clone()), ChecksumPolicy::default()),
            BasePlace::Name(name) => {
                let catalog = self.catalog()?;
                let entry = catalog
                    .lookup(name)
                    .map_err(|e| Failure::from(e).while_doing(format!("{}: unknown base", base.origin)))?;
                FetchRequest {
                    location: Location::Url(entry.url.clone()),
                    mirrors: entry.mirrors.clone(),
                    expected: ChecksumPolicy {
                        compressed: entry.compressed.clone(),
                        raw: entry.raw.clone(),
                        published: match (&entry.compressed, &entry.checksum_url) {
                            (None, Some(url)) => PublishedSums::Url(url.clone()),
                            _ => PublishedSums::No,
                        },
                        cross_checked: entry.checksum == ChecksumState::PinnedCrossChecked,
                    },
                    fresh: false,
                }
            }
        };
        if let Some(digest) = base.sha256.as_ref().or(base.sha512.as_ref()) {
            request.expected.compressed = Some(digest.clone());
        }
        if let Some(digest) = &base.raw_sha256 {
            request.expected.raw = Some(digest.clone());
        }
        if let Some(url) = &base.checksum_url {
            request.expected.published = if url == "auto" {
                PublishedSums::Auto
            } else {
                PublishedSums::Url(url.clone())
            };
        }
        Ok(request)
    }
}

fn is_demo(base: &BaseRef) -> bool {
    base.place == BasePlace::Name("demo".to_owned())
}

fn demo_base() -> Result<Base, Failure> {
    let image = demo::image()?;
    let raw_len = Source::len(&*image);
    let raw_digest = digest_of(&*image)?;
    Ok(Base {
        source: image,
        file: None,
        raw_digest: raw_digest.clone(),
        raw_len,
        download_digest: None,
        verified: ChecksumState::PinnedCrossChecked,
        from_cache: false,
        name: "demo".to_owned(),
    })
}

/// SHA-256 of a source.
///
/// # Errors
/// It cannot be read.
pub fn digest_of(source: &dyn Source) -> io::Result<Digest> {
    let mut hasher = crate::values::Hasher::new(crate::values::DigestKind::Sha256);
    crate::disk::in_pieces(source, 0..source.len(), |_, bytes| {
        hasher.update(bytes);
        Ok(true)
    })?;
    Ok(hasher.finish())
}

/// A fetch error with its way out.
#[must_use]
pub fn fetch_failure(error: FetchError) -> Failure {
    let hint = error.hint();
    let failure = Failure::from(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// What is known about the operating system in an image; `None` when it lacks one of the two volumes.
///
/// # Errors
/// The volumes cannot be read.
pub fn facts(image: &Image) -> Result<Option<BaseFacts>, Failure> {
    match (image.volume(VolumeName::Boot), image.volume(VolumeName::Root)) {
        (Ok(boot), Ok(root)) => Ok(Some(base_os::probe(boot, root)?)),
        _ => Ok(None),
    }
}

/// Where edits find the FAT and its files.
#[must_use]
pub fn places(facts: Option<&BaseFacts>) -> Places {
    Places {
        boot_mount: facts.map(|f| f.boot_mount.clone()),
        cmdline: facts
            .and_then(|f| f.cmdline_path.clone())
            .unwrap_or_else(|| "/cmdline.txt".to_owned()),
        config: "/config.txt".to_owned(),
    }
}

/// The bytes of a plan's content, as a source.
pub fn open_content(pool: &Arc<FilePool>, content: &Content) -> Arc<dyn Source> {
    match content {
        Content::Inline { bytes, .. } => Bytes::shared(bytes),
        Content::File { path, stamp, digest } => {
            Arc::new(FileSource::new(pool, path, *stamp).with_digest(digest))
        }
    }
}
