//! Images that are written as they are.

use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Ready;
use crate::bmap::{BLOCK, Bmap};
use crate::cli::args;
use crate::cli::context::{Context, digest_of};
use crate::cli::message::Failure;
use crate::disk::{BlockIo, SECTOR, Source, TableKind, in_pieces};
use crate::fetch::FileSource;
use crate::flash::Whole;
use crate::image::Image;
use crate::plan::BasePlace;
use crate::report::{Event, Reporter, Step};
use crate::spec::parse_base;
use crate::values::{Digest, DigestKind, Hasher};

/// An image and the ranges of it that matter.
pub type Bytes = (Arc<dyn Source>, Vec<Range<u64>>);

/// Everything.
pub fn all(len: u64) -> Vec<Range<u64>> {
    std::iter::once(0..len)
        .filter(|range| !range.is_empty())
        .collect()
}

/// Moves the backup of a GPT to the end of the card, where it belongs (UEFI 2.10, 5.3.2).
pub fn fit(image: &mut Image, card: u64) -> Result<(), Failure> {
    let len = card / SECTOR * SECTOR;
    if image.table.kind != TableKind::Gpt || len <= BlockIo::len(&*image.overlay) {
        return Ok(());
    }
    let Some(last) = image.table.partitions.iter().max_by_key(|p| p.start).cloned() else {
        return Ok(());
    };
    image.overlay.set_len(len);
    image.table.grow(&*image.overlay, last.number, last.len)?;
    Ok(())
}

/// An image by file, address or name of the catalog, for a card of this length.
pub fn image(context: &Context, args: &args::Flash, text: &str, card: u64) -> Result<Ready, Failure> {
    let mut base = parse_base(text).map_err(|e| Failure::new(format!("--image: {e}")))?;
    "--image".clone_into(&mut base.origin.file);
    let (source, path, held) = match &base.place {
        BasePlace::Path(path) => {
            check_sums(context, path)?;
            (context.image_source(path)?.0, Some(path.clone()), None)
        }
        _ => {
            let base = context.base(&base)?;
            (Arc::clone(&base.source), None, Some(base))
        }
    };
    check_begin(&*source, text)?;
    let (source, used) = match path.as_deref().map(beside).transpose()?.flatten() {
        Some((file, map)) => {
            check_map(context, &*source, &map)
                .map_err(|e| e.while_doing(format!("the image is not what `{}` says", file.display())))?;
            let used = map.ranges.into_iter().map(|r| r.bytes).collect();
            // A map knows nothing of the end of the card.
            match Image::open(Arc::clone(&source)) {
                Ok(image) if image.table.kind == TableKind::Gpt => understood(context, source, text, card)?,
                _ => (source, used),
            }
        }
        None => understood(context, source, text, card)?,
    };
    Ok(Ready {
        name: text.rsplit('/').next().unwrap_or(text).to_owned(),
        used: if args.full { all(source.len()) } else { used },
        source,
        content: None,
        _base: held,
    })
}

/// Every card that a board starts from begins with a partition table or a boot sector, and both with these bytes at
/// their end (UEFI 2.10, table 5-1); a file without them was named by mistake.
fn check_begin(source: &dyn Source, name: &str) -> Result<(), Failure> {
    let mut sector = [0; 512];
    if source.len() >= SECTOR {
        source.read_at(0, &mut sector)?;
    }
    if sector.ends_with(&[0x55, 0xaa]) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "`{name}` is no image of a card: it has no partition table (no 55 AA at byte 510)"
    )))
}

/// What the file systems of an image use; the whole of one that is not understood.
fn understood(context: &Context, source: Arc<dyn Source>, name: &str, card: u64) -> Result<Bytes, Failure> {
    let whole = |source: Arc<dyn Source>| {
        let used = all(source.len());
        (source, used)
    };
    match Image::open(Arc::clone(&source)) {
        // An image that was not unmounted cleanly goes to the card as it is, journal and all.
        Ok(image) if !image.recovered.is_empty() => Ok(whole(source)),
        Ok(mut image) => {
            fit(&mut image, card)?;
            let used = image.used_ranges(BLOCK)?;
            Ok((Arc::new(Whole(image.overlay)), used))
        }
        Err(error) => {
            context.note(&format!(
                "`{name}` is written whole, since it is no image whose free blocks are known: {error}"
            ));
            Ok(whole(source))
        }
    }
}

/// An image whose edits are done, for a card.
pub fn edited(image: &mut Image, args: &args::Flash, card: u64) -> Result<Bytes, Failure> {
    fit(image, card)?;
    let source: Arc<dyn Source> = Arc::new(Whole(Arc::clone(&image.overlay)));
    let used = if args.full {
        all(source.len())
    } else {
        image.used_ranges(BLOCK)?
    };
    Ok((source, used))
}

/// Compares a file with the `.sha256` beside it, where there is one.
pub fn check_sums(context: &Context, path: &Path) -> Result<(), Failure> {
    let mut sums = path.as_os_str().to_owned();
    sums.push(".sha256");
    let sums = PathBuf::from(sums);
    let Some(text) = read(&sums)? else { return Ok(()) };
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let wrong = || {
        Failure::new(format!("`{}` has no SHA-256 of `{name}`", sums.display()))
            .hint("its lines are those of `sha256sum`; remove it if it is of another file")
    };
    // `DIGEST  NAME`, or a digest alone.
    let digest = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let digest = words.next()?;
            let of = words.next().map(|word| word.trim_start_matches('*'));
            (of.is_none() || of == Some(name.as_str())).then_some(digest)
        })
        .find_map(|word| format!("sha256:{word}").parse::<Digest>().ok())
        .ok_or_else(wrong)?;
    context.reporter.event(&Event::Start {
        step: Step::Hash,
        subject: &name,
        total: None,
    });
    let found = digest_of(&FileSource::held(path)?)?;
    context.reporter.event(&Event::End { step: Step::Hash });
    if found == digest {
        return Ok(());
    }
    Err(Failure::new(format!(
        "`{}` has SHA-256 {}, and `{}` says {}",
        path.display(),
        found.hex(),
        sums.display(),
        digest.hex()
    ))
    .hint("download or build it again"))
}

/// The block map beside an image, by its own name and without the ending of its packing.
fn beside(path: &Path) -> Result<Option<(PathBuf, Bmap)>, Failure> {
    let with = |path: &Path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".bmap");
        PathBuf::from(name)
    };
    let mut candidates = vec![with(path)];
    if let Some("xz" | "gz" | "zst" | "bz2" | "zip") = path.extension().and_then(|e| e.to_str()) {
        candidates.push(with(&path.with_extension("")));
    }
    for file in candidates {
        if let Some(text) = read(&file)? {
            let map = Bmap::parse(&text).map_err(|e| {
                Failure::from(e).while_doing(format!("cannot use the block map `{}`", file.display()))
            })?;
            return Ok(Some((file, map)));
        }
    }
    Ok(None)
}

fn read(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Failure::from(e).while_doing(format!("cannot read `{}`", path.display()))),
    }
}

/// Compares the mapped ranges of an image with the digests of its map.
fn check_map(context: &Context, source: &dyn Source, map: &Bmap) -> Result<(), Failure> {
    if source.len() != map.image_len {
        return Err(Failure::new(format!(
            "it has {} bytes instead of {}",
            source.len(),
            map.image_len
        )));
    }
    context.reporter.event(&Event::Start {
        step: Step::Hash,
        subject: "the block map",
        total: Some(map.mapped()),
    });
    let mut done = 0;
    for range in &map.ranges {
        let mut hasher = Hasher::new(DigestKind::Sha256);
        in_pieces(source, range.bytes.clone(), |_, bytes| {
            hasher.update(bytes);
            Ok(true)
        })?;
        if hasher.finish() != range.digest {
            return Err(Failure::new(format!(
                "bytes {} to {} differ",
                range.bytes.start, range.bytes.end
            ))
            .hint("download or build it again"));
        }
        done += range.bytes.end - range.bytes.start;
        context.reporter.event(&Event::Advance {
            step: Step::Hash,
            done,
        });
    }
    context.reporter.event(&Event::End { step: Step::Hash });
    Ok(())
}
