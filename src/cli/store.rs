//! `images` and `cache`: what could be fetched, and what is kept.

use serde_json::json;

use super::args::{self, CacheAction};
use super::context::Context;
use super::message::{self, Failure, Outcome};
use crate::values::ByteSize;

/// `ceil-img images`
pub fn images(context: &Context) -> Result<Outcome, Failure> {
    let catalog = context.catalog()?;
    for entry in catalog.entries() {
        if context.json {
            message::json(&json!({
                "name": entry.name, "aliases": entry.aliases, "os": entry.os, "version": entry.version,
                "codename": entry.codename, "arch": entry.arch.to_string(), "boards": entry.boards,
                "family": entry.family, "boot_mount": entry.boot_mount, "url": entry.url,
                "sha256": entry.compressed, "raw_sha256": entry.raw, "size": entry.download_size,
                "raw_size": entry.raw_size, "checksum": entry.checksum, "checksum_url": entry.checksum_url,
                "signature_url": entry.signature_url, "evidence": entry.evidence.to_string(), "notes": entry.notes,
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

/// `ceil-img cache`
pub fn cache(context: &Context, args: &args::Cache) -> Result<Outcome, Failure> {
    match &args.action {
        CacheAction::Ls => Err(Failure::new("not yet")),
        CacheAction::Prune { all, keep } => {
            let _ = (all, keep, ByteSize::MIB, context);
            Err(Failure::new("not yet"))
        }
    }
}
