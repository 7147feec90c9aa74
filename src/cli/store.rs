//! `images`, `artifacts` and `cache`: what could be fetched, and what is kept.

use serde_json::json;

use super::args::{self, CacheAction};
use super::context::Context;
use super::message::{self, Failure, Outcome};
use crate::fetch::{CacheEntry, PruneOptions};
use crate::values::{ByteSize, Digest, shown_url};

/// `ceil-img images`
pub fn images(context: &Context) -> Result<Outcome, Failure> {
    let catalog = context.catalog()?;
    for entry in catalog.entries() {
        if context.json {
            message::json(&json!({
                "name": entry.name, "aliases": entry.aliases, "os": entry.os, "version": entry.version,
                "codename": entry.codename, "arch": entry.arch.to_string(), "boards": entry.boards,
                "family": entry.family, "boot_mount": entry.boot_mount, "url": shown_url(&entry.url),
                "sha256": entry.compressed, "raw_sha256": entry.raw, "size": entry.download_size,
                "raw_size": entry.raw_size, "checksum": entry.checksum, "checksum_url": entry.checksum_url.as_deref().map(shown_url),
                "signature_url": entry.signature_url, "evidence": entry.evidence.to_string(), "notes": entry.notes,
                "faulty": entry.faulty,
            }))?;
            continue;
        }
        let digest = match (&entry.compressed, &entry.raw) {
            (Some(digest), _) => digest.hex(),
            (None, Some(raw)) => format!("{} (raw)", raw.hex()),
            (None, None) => "-".to_owned(),
        };
        let also = if entry.aliases.is_empty() {
            String::new()
        } else {
            format!("  also {}", entry.aliases.join(", "))
        };
        message::line(&format!(
            "{:<40} {:<6} {:<21} {digest:<64}{also}",
            entry.name,
            entry.arch,
            entry.checksum.word(),
        ))?;
    }
    Ok(Outcome::Done)
}

/// `ceil-img artifacts`
pub fn artifacts(context: &Context, args: &args::Artifacts) -> Result<Outcome, Failure> {
    let catalog = context.artifacts(&args.file)?;
    let part = args.name.as_deref().unwrap_or_default();
    for entry in catalog.entries().into_iter().filter(|e| e.name.contains(part)) {
        let checksum = entry.checksum();
        if context.json {
            message::json(&json!({
                "name": entry.name, "version": entry.version, "arch": entry.arch.to_string(),
                "url": shown_url(&entry.url), "sha256": entry.sha256.as_ref().map(Digest::hex),
                "size": entry.size, "checksum": checksum,
                "checksum_url": entry.checksum_url.as_deref().map(shown_url),
                "evidence": entry.evidence.to_string(),
            }))?;
            continue;
        }
        let digest = entry.sha256.as_ref().map_or_else(|| "-".to_owned(), Digest::hex);
        message::line(&format!(
            "{:<28} {:<16} {:<6} {:<21} {:<4} {digest}",
            entry.name,
            entry.version,
            entry.arch,
            checksum.word(),
            entry.evidence.to_string(),
        ))?;
    }
    Ok(Outcome::Done)
}

/// `ceil-img cache`
pub fn cache(context: &Context, args: &args::Cache) -> Result<Outcome, Failure> {
    let fetcher = context.fetcher()?;
    match &args.action {
        CacheAction::Ls => {
            for entry in fetcher.cache_entries()? {
                show(context, "cached", &entry)?;
            }
        }
        CacheAction::Prune { all, keep, partial } => {
            let pruned = fetcher.prune(&PruneOptions {
                all: *all,
                unused_since: None,
                max_allocated: keep.map(|size| size.0),
                leftovers: *all || *partial,
            })?;
            for entry in &pruned.objects {
                show(context, "removed", entry)?;
            }
            if pruned.kept_in_use > 0 {
                context.warn(&format!(
                    "{} objects are in use and were kept",
                    pruned.kept_in_use
                ));
            }
            context.note(&format!("{} are free again", ByteSize(pruned.freed)));
        }
    }
    Ok(Outcome::Done)
}

fn show(context: &Context, event: &str, entry: &CacheEntry) -> Result<(), Failure> {
    if context.json {
        message::json(&json!({
            "event": event, "kind": entry.kind.word(), "digest": entry.digest, "size": entry.len,
            "allocated": entry.allocated, "origin": entry.origin, "path": entry.path.display().to_string(),
            "in_use": entry.in_use,
        }))?;
    } else {
        message::line(&format!(
            "{:<5} {}  {:>10} ({:>10} on disk)  {}",
            entry.kind.word(),
            entry.digest.hex(),
            ByteSize(entry.len).to_string(),
            ByteSize(entry.allocated).to_string(),
            entry.origin,
        ))?;
    }
    Ok(())
}
