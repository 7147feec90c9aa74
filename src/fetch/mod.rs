//! From a location to verified bytes in the cache.
//!
//! This room knows URLs, packings, digests and the cache directory. Everything in the cache is kept by digest; a file
//! gets its final name only after its digest was compared, so what is found under a final name is whole. A base is
//! kept decompressed and sparse, and is never written again.
//!
//! The way in is one pass: bytes come from a file or the network, are hashed, decoded, hashed again and written by
//! threads that overlap, through buffers of a few MiB.
//!
//! Of the image room it knows the trait of readable bytes alone. It must not know clusters, partitions or file
//! systems. Only `http` speaks to the network, and only `store`
//! decides what lies where.

mod archive;
mod bring;
mod checksum;
mod download;
mod error;
mod http;
mod intake;
mod prune;
mod request;
mod sink;
mod source;
mod store;
#[cfg(test)]
mod test_server;
#[cfg(test)]
mod tests;
mod unpack;
mod xz;
mod zip;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use archive::Member;
pub use checksum::{ListedSum, pick_sum, read_sums};
pub use error::{FetchError, Result};
pub use prune::{CacheEntry, PruneOptions, Pruned};
pub use request::{CachedFile, CachedImage, ChecksumPolicy, FetchRequest, Location, PublishedSums};
pub use source::{FilePool, FileSource};
pub use store::ObjectKind;
pub use unpack::Format;

use crate::report::{Event, NoReport, Reporter};
use crate::values::ByteSize;
use http::Http;
use store::{Held, Lock, Store};
use xz::XzLimits;

/// How patient downloads are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// A connection that brings no byte for this long is given up.
    pub stall: Duration,
    /// Attempts after the first one, counted anew whenever bytes arrive.
    pub retries: u32,
    /// Pause before the first retry; doubled each time, up to `longest_pause`.
    pub first_pause: Duration,
    /// Longest pause, also where a server asks for more.
    pub longest_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            stall: Duration::from_secs(30),
            retries: 4,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
        }
    }
}

/// Settings of a [`Fetcher`].
#[derive(Clone)]
pub struct FetchOptions {
    /// Directory of the cache; made when missing.
    pub cache_dir: PathBuf,
    /// Open no connection.
    pub offline: bool,
    /// Pairs of URL prefixes: a URL that begins with the first is tried at the second before its own place, in
    /// this order.
    pub mirrors: Vec<(String, String)>,
    /// Who is told about progress.
    pub reporter: Arc<dyn Reporter>,
    /// How patient downloads are.
    pub patience: Patience,
    /// Set from outside to stop; looked at several times a second.
    pub cancel: Arc<AtomicBool>,
    /// Threads for decoding; 0 takes as many as there are processors.
    pub threads: u32,
    /// Bytes of memory up to which xz blocks are decoded side by side. A file that needs more than this for two
    /// blocks is decoded on one thread.
    pub decode_memory: ByteSize,
    /// A raw image larger than this is refused.
    pub max_raw: ByteSize,
    /// Keep a downloaded file as it came, beside the raw image.
    pub keep_downloads: bool,
}

impl FetchOptions {
    /// The usual settings over this cache directory.
    #[must_use]
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            cache_dir: cache_dir.into(),
            offline: false,
            mirrors: Vec::new(),
            reporter: Arc::new(NoReport),
            patience: Patience::default(),
            cancel: Arc::new(AtomicBool::new(false)),
            threads: 0,
            decode_memory: ByteSize(40 * ByteSize::MIB),
            max_raw: intake::DEFAULT_MAX_RAW,
            keep_downloads: false,
        }
    }
}

impl fmt::Debug for FetchOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchOptions")
            .field("cache_dir", &self.cache_dir)
            .field("offline", &self.offline)
            .field("mirrors", &self.mirrors)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

/// Fetches, verifies, unpacks, and remembers.
#[derive(Debug)]
pub struct Fetcher {
    options: FetchOptions,
    store: Store,
    http: Http,
}

impl Fetcher {
    /// Opens the cache, making its directories.
    ///
    /// # Errors
    ///
    /// When a directory cannot be made.
    pub fn new(options: FetchOptions) -> Result<Self> {
        let store = Store::open(&options.cache_dir)?;
        Ok(Self {
            options,
            store,
            http: Http::default(),
        })
    }

    fn cancelled(&self) -> bool {
        self.options.cancel.load(Ordering::Relaxed)
    }

    fn note(&self, text: &str) {
        self.options.reporter.event(&Event::Note { text });
    }

    fn xz_limits(&self) -> XzLimits {
        let processors = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = match self.options.threads {
            0 => u32::try_from(processors()).unwrap_or(1),
            n => n,
        };
        XzLimits {
            threads,
            threading: self.options.decode_memory.0,
            // The largest dictionary that `xz -9` makes is 64 MiB; custom ones of up to 1 GiB exist.
            stop: self.options.decode_memory.0.max(130 * ByteSize::MIB),
        }
    }

    /// Takes the lock of `key`, waiting for another process that fetches the same thing.
    fn lock(&self, key: &str, subject: &str) -> Result<Lock> {
        let mut told = false;
        loop {
            if let Some(lock) = self.store.try_lock(key)? {
                return Ok(lock);
            }
            if !told {
                self.note(&format!(
                    "another process is fetching `{subject}`; waiting for it"
                ));
                told = true;
            }
            if self.cancelled() {
                return Err(FetchError::Cancelled);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
