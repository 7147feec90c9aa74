//! What every command needs from the world: flags, cache, progress, interrupt.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::args::Global;
use super::message::Failure;
use super::progress::Progress;
use crate::base_os::{self, BaseFacts};
use crate::catalog::Catalog;
use crate::demo;
use crate::disk::{Bytes, Source};
use crate::edit::Places;
use crate::fetch::{
    BaseRequest, ChecksumPolicy, FetchError, FetchOptions, Fetcher, FileSource, Format, Location, PublishedSums,
};
use crate::image::Image;
use crate::plan::{BasePlace, BaseRef, Content};
use crate::report::{Event, Reporter};
use crate::values::{ChecksumState, Digest, VolumeName};

/// The world as the flags and the environment say.
#[derive(Debug)]
pub struct Context {
    /// Print JSON.
    pub json: bool,
    /// Open no connection.
    pub offline: bool,
    /// The cache directory.
    pub cache: PathBuf,
    /// Set by Ctrl-C.
    pub cancel: Arc<AtomicBool>,
    /// Where progress goes.
    pub reporter: Arc<Progress>,
    /// `SOURCE_DATE_EPOCH`, where set.
    pub source_date_epoch: Option<String>,
}

/// A base that is at hand and verified.
#[derive(Debug)]
pub struct Base {
    /// Its bytes.
    pub source: Arc<dyn Source>,
    /// SHA-256 of the raw image.
    pub raw_digest: Digest,
    /// Length of the raw image.
    pub raw_len: u64,
    /// Digest of the file as it came, where it was packed.
    pub download_digest: Option<Digest>,
    /// How far it can be trusted.
    pub verified: ChecksumState,
    /// Name for the manifest: a catalog name, a URL or a file name.
    pub name: String,
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
                    Failure::new("there is no place for the cache: HOME is not set").hint("give a directory with `--cache`")
                })?,
        };
        let cancel = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&cancel);
        // The first interrupt asks everything to stop and clean up, the second one does not wait for that.
        let handler = move || {
            if flag.swap(true, std::sync::atomic::Ordering::Relaxed) {
                std::process::exit(130);
            }
        };
        if let Err(error) = ctrlc::set_handler(handler) {
            return Err(Failure::from(error).while_doing("cannot watch for interrupts"));
        }
        Ok(Self {
            json: global.json,
            offline: global.offline,
            cache,
            cancel,
            reporter: Arc::new(Progress::new(global.json, global.quiet)),
            source_date_epoch: std::env::var("SOURCE_DATE_EPOCH").ok(),
        })
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
        let mut catalog = Catalog::builtin();
        if let Some(file) = dir.map(|dir| dir.join("ceil-img").join("images.yaml")) {
            match std::fs::read_to_string(&file) {
                Ok(text) => catalog.add_user_file(&file.display().to_string(), &text)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Failure::from(error).while_doing(format!("cannot read `{}`", file.display()))),
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
        let source = self.image_source(path).map_err(|e| e.while_doing(what()))?;
        Image::open(source).map_err(|e| Failure::from(e).while_doing(what()))
    }

    /// The raw bytes of an image file.
    ///
    /// # Errors
    /// As [`Context::open_image`].
    pub fn image_source(&self, path: &Path) -> Result<Arc<dyn Source>, Failure> {
        if Format::of_file(path)? == Format::Raw {
            return Ok(Arc::new(FileSource::open(path)?));
        }
        let request = BaseRequest {
            location: Location::Path(path.to_owned()),
            mirrors: Vec::new(),
            expected: ChecksumPolicy::default(),
        };
        let cached = self.fetcher()?.fetch_base(&request).map_err(fetch_failure)?;
        Ok(Arc::new(FileSource::cached(&cached)?))
    }

    /// Brings a base here, verified.
    ///
    /// # Errors
    /// It cannot be fetched, or is not what it should be.
    pub fn base(&self, base: &BaseRef) -> Result<Base, Failure> {
        if base.place == BasePlace::Name("demo".to_owned()) {
            return demo_base();
        }
        let request = self.base_request(base)?;
        let cached = self
            .fetcher()?
            .fetch_base(&request)
            .map_err(|e| fetch_failure(e).while_doing(format!("{}: cannot get the base `{}`", base.origin, base.place)))?;
        let name = match &base.place {
            BasePlace::Path(path) => path
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            place => place.to_string(),
        };
        Ok(Base {
            source: Arc::new(FileSource::cached(&cached)?),
            raw_digest: cached.raw_digest.clone(),
            raw_len: cached.raw_len,
            download_digest: cached.download_digest.clone().filter(|d| *d != cached.raw_digest),
            verified: cached.verified,
            name,
        })
    }

    /// What is asked of the fetch room for a base.
    ///
    /// # Errors
    /// The catalog has no such name.
    pub fn base_request(&self, base: &BaseRef) -> Result<BaseRequest, Failure> {
        let mut request = match &base.place {
            BasePlace::Path(path) => BaseRequest {
                location: Location::Path(path.clone()),
                mirrors: Vec::new(),
                expected: ChecksumPolicy::default(),
            },
            BasePlace::Url(url) => BaseRequest {
                location: Location::Url(url.clone()),
                mirrors: Vec::new(),
                expected: ChecksumPolicy::default(),
            },
            BasePlace::Name(name) => self
                .catalog()?
                .lookup(name)
                .map_err(|e| Failure::from(e).while_doing(base.origin.to_string()))?
                .request(),
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

fn demo_base() -> Result<Base, Failure> {
    let image = demo::image()?;
    let raw_len = Source::len(&*image);
    let raw_digest = digest_of(&*image)?;
    Ok(Base {
        source: image,
        raw_digest: raw_digest.clone(),
        raw_len,
        download_digest: None,
        verified: ChecksumState::PinnedCrossChecked,
        name: "demo".to_owned(),
    })
}

/// SHA-256 of a source.
fn digest_of(source: &dyn Source) -> io::Result<Digest> {
    let mut hasher = crate::values::Hasher::new(crate::values::DigestKind::Sha256);
    let mut buf = vec![0; 1 << 20];
    let mut at = 0;
    while at < source.len() {
        let step = (source.len() - at).min(buf.len() as u64) as usize;
        source.read_at(at, &mut buf[..step])?;
        hasher.update(&buf[..step]);
        at += step as u64;
    }
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

/// What is known about the operating system in an image; `None` when it has no root volume.
///
/// # Errors
/// The volumes cannot be read.
pub fn facts(image: &Image) -> Result<Option<BaseFacts>, Failure> {
    let Ok(root) = image.volume(VolumeName::Root) else {
        return Ok(None);
    };
    Ok(Some(base_os::probe(image.volume(VolumeName::Boot).ok(), root)?))
}

/// Where edits find the FAT and its files.
///
/// # Errors
/// The volumes cannot be read.
pub fn places(image: &Image) -> Result<Places, Failure> {
    Ok(places_of(facts(image)?.as_ref()))
}

/// The same from facts already known.
#[must_use]
pub fn places_of(facts: Option<&BaseFacts>) -> Places {
    Places {
        boot_mount: facts.and_then(|f| f.boot_mount.clone()),
        cmdline: facts.map_or_else(|| "/cmdline.txt".to_owned(), |f| f.cmdline_path.clone()),
        config: facts.map_or_else(|| "/config.txt".to_owned(), |f| f.config_path.clone()),
    }
}

/// The bytes of a plan's content, as a source.
///
/// # Errors
/// The file cannot be opened.
pub fn open_content(content: &Content) -> io::Result<Arc<dyn Source>> {
    Ok(match content {
        Content::Inline { bytes, .. } => Bytes::shared(bytes),
        Content::File { path, stamp, digest } => Arc::new(FileSource::stamped(path, *stamp, digest)),
    })
}
