//! Commands that only read an image: `inspect`, `ls`, `cat`, `extract`, `diff`, `check`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::args;
use super::card::on_card;
use super::context::{Context, facts, places};
use super::dump;
use super::message::{self, Failure, Outcome};
use crate::base_os::BaseFacts;
use crate::diff::{Difference, Side, diff};
use crate::disk::BlockIo;
use crate::edit::locate;
use crate::emit::Output;
use crate::fs::{Follow, NodeKind, Stat, Volume, show, tree};
use crate::image::Image;
use crate::values::{ByteSize, ImagePath, VolumeName};

/// Pieces in which contents are copied.
const PIECE: usize = 1 << 18;

fn find(image: &Image, path: &ImagePath, follow: Follow) -> Result<(VolumeName, Vec<u8>, Stat), Failure> {
    let places = places(facts(image)?.as_ref());
    let (name, real) = locate(image, &places, path, follow)
        .map_err(|e| Failure::from(e).while_doing(format!("cannot find `{path}`")))?;
    let stat = image
        .volume(name)?
        .stat(&real)?
        .ok_or_else(|| Failure::new(format!("`{path}` does not exist in the image")))?;
    Ok((name, real, stat))
}

/// `ceil-img inspect`
pub fn inspect(context: &Context, args: &args::Inspect) -> Result<Outcome, Failure> {
    if args.dump {
        return dump::dump(context, args);
    }
    let image = context.open_image(&args.image)?;
    let facts = facts(&image)?;
    let volume = |name: VolumeName| -> Option<serde_json::Value> {
        let volume = image.volume(name).ok()?;
        let space = volume.space();
        Some(json!({
            "partition": image.partition(name).ok()?.number,
            "kind": volume.kind(),
            "label": volume.label(),
            "uuid": volume.uuid(),
            "features": volume.features(),
            "block_size": space.block_size,
            "size": space.total,
            "free": space.free,
            "inodes": space.inodes,
            "inodes_free": space.inodes_free,
        }))
    };
    let size = BlockIo::len(&*image.overlay);
    if context.json {
        let partitions: Vec<_> = image
            .table
            .partitions
            .iter()
            .map(|p| {
                json!({"number": p.number, "start": p.start, "size": p.len, "type": p.kind,
                    "partuuid": p.partuuid, "name": p.name})
            })
            .collect();
        let unknown: Vec<_> = image
            .others
            .iter()
            .map(|(number, why)| json!({"partition": number, "why": why.to_string()}))
            .collect();
        message::json(&json!({
            "size": size,
            "table": image.table.kind,
            "disk_id": image.table.disk_id,
            "partitions": partitions,
            "boot": volume(VolumeName::Boot),
            "root": volume(VolumeName::Root),
            "unknown": unknown,
            "os": facts.as_ref().map(os_json),
            "card": on_card(&image),
        }))?;
        return Ok(Outcome::Done);
    }
    if let Some(text) = on_card(&image).sentence() {
        message::line(&format!("card       {text}"))?;
    }
    let table = format!("{:?}", image.table.kind).to_uppercase();
    message::line(&format!(
        "image      {} ({size} bytes), {table} {}",
        ByteSize(size),
        image.table.disk_id
    ))?;
    for p in &image.table.partitions {
        message::line(&format!(
            "p{:<9} start {:>11}  size {:>9}  type {}  PARTUUID {}{}",
            p.number,
            p.start,
            ByteSize(p.len).to_string(),
            p.kind,
            p.partuuid,
            if p.name.is_empty() {
                String::new()
            } else {
                format!("  {}", p.name)
            },
        ))?;
    }
    for name in [VolumeName::Boot, VolumeName::Root] {
        let Ok(volume) = image.volume(name) else { continue };
        let space = volume.space();
        let inodes = if space.inodes == 0 {
            String::new()
        } else {
            format!(", {} of {} inodes free", space.inodes_free, space.inodes)
        };
        message::line(&format!(
            "{name:<10} p{} {} `{}` {}, {} of {} free{inodes}",
            image.partition(name)?.number,
            volume.kind(),
            volume.label(),
            volume.uuid(),
            ByteSize(space.free),
            ByteSize(space.total),
        ))?;
        if !volume.features().is_empty() {
            message::line(&format!("           {}", volume.features().join(" ")))?;
        }
    }
    for (number, why) in &image.others {
        message::line(&format!("p{number:<9} {why}"))?;
    }
    if let Some(facts) = &facts {
        let arch = facts.arch.map_or("unknown".to_owned(), |a| a.to_string());
        message::line(&format!("os         {} ({arch})", facts.pretty_name))?;
        let cloud_init = facts.cloud_init.as_ref().map_or("none".to_owned(), |c| {
            c.version.clone().unwrap_or_else(|| "version unknown".to_owned())
        });
        message::line(&format!(
            "           FAT mounted at {}, cloud-init {cloud_init}",
            facts.boot_mount
        ))?;
    }
    Ok(Outcome::Done)
}

fn os_json(facts: &BaseFacts) -> serde_json::Value {
    json!({
        "id": facts.id,
        "version_id": facts.version_id,
        "version_codename": facts.version_codename,
        "pretty_name": facts.pretty_name,
        "arch": facts.arch.map(|a| a.to_string()),
        "boot_mount": facts.boot_mount,
        "cmdline": facts.cmdline_path,
        "cloud_init": facts.cloud_init.as_ref().map(|c| c.version.clone().unwrap_or_default()),
    })
}

fn entry_line(path: &str, stat: &Stat, target: Option<&str>) -> String {
    let letter = match stat.kind {
        NodeKind::File => '-',
        NodeKind::Dir => 'd',
        NodeKind::Symlink => 'l',
        NodeKind::CharDevice => 'c',
        NodeKind::BlockDevice => 'b',
        NodeKind::Fifo => 'p',
        NodeKind::Socket => 's',
    };
    let owner = format!("{}:{}", stat.uid, stat.gid);
    let arrow = target.map_or(String::new(), |t| format!(" -> {t}"));
    format!(
        "{letter}{:04o} {owner:>11} {:>12} {path}{arrow}",
        stat.mode, stat.size
    )
}

/// `ceil-img ls`
pub fn ls(context: &Context, args: &args::Ls) -> Result<Outcome, Failure> {
    let image = context.open_image(&args.image)?;
    let (name, real, stat) = find(&image, &args.path, Follow::Last)?;
    let volume = image.volume(name)?;
    let mut print = |path: &[u8], stat: &Stat| -> Result<(), Failure> {
        let target = match stat.kind {
            NodeKind::Symlink => Some(show(&volume.read_link(path)?)),
            _ => None,
        };
        let shown = format!("{name}:{}", show(path));
        if context.json {
            message::json(&json!({
                "path": shown, "kind": stat.kind.to_string(), "mode": format!("{:04o}", stat.mode),
                "owner": format!("{}:{}", stat.uid, stat.gid), "size": stat.size, "mtime": stat.mtime.secs,
                "links": stat.links, "target": target,
            }))?;
        } else {
            message::line(&entry_line(&shown, stat, target.as_deref()))?;
        }
        Ok(())
    };
    if stat.kind != NodeKind::Dir {
        print(&real, &stat)?;
    } else if args.recursive {
        tree::walk(volume, &real, &mut print)?;
    } else {
        for entry in volume.read_dir(&real)? {
            let mut path = if real == b"/" { Vec::new() } else { real.clone() };
            path.push(b'/');
            path.extend_from_slice(&entry.name);
            print(&path, &entry.stat)?;
        }
    }
    Ok(Outcome::Done)
}

/// Copies a file of a volume to a writer.
fn copy_out(volume: &dyn Volume, path: &[u8], out: &mut dyn Write) -> Result<(), Failure> {
    let source = volume.open(path)?;
    let mut buf = vec![0; PIECE.min(source.len() as usize)];
    let mut at = 0;
    while at < source.len() {
        let step = (source.len() - at).min(buf.len() as u64) as usize;
        source.read_at(at, &mut buf[..step])?;
        out.write_all(&buf[..step])?;
        at += step as u64;
    }
    Ok(())
}

/// `ceil-img cat`
pub fn cat(context: &Context, args: &args::Cat) -> Result<Outcome, Failure> {
    let image = context.open_image(&args.image)?;
    let (name, real, stat) = find(&image, &args.path, Follow::Last)?;
    if stat.kind != NodeKind::File {
        return Err(Failure::new(format!(
            "`{}` is a {}, not a file",
            args.path, stat.kind
        )));
    }
    copy_out(image.volume(name)?, &real, &mut io::stdout().lock())?;
    Ok(Outcome::Done)
}

/// `ceil-img extract`
pub fn extract(context: &Context, args: &args::Extract) -> Result<Outcome, Failure> {
    let image = context.open_image(&args.image)?;
    let (name, real, stat) = find(&image, &args.path, Follow::Last)?;
    if args.dest.symlink_metadata().is_ok() {
        return Err(Failure::new(format!("`{}` already exists", args.dest.display()))
            .hint("name a file or directory that does not exist yet"));
    }
    let volume = image.volume(name)?;
    let mut skipped = 0u64;
    extract_node(volume, &real, &stat, &args.dest, &mut skipped)?;
    if stat.kind == NodeKind::Dir {
        tree::walk(volume, &real, &mut |path: &[u8],
                                        stat: &Stat|
         -> Result<(), Failure> {
            let below = if real == b"/" {
                &path[1..]
            } else {
                &path[real.len() + 1..]
            };
            let dest = args.dest.join(Path::new(std::ffi::OsStr::from_bytes(below)));
            extract_node(volume, path, stat, &dest, &mut skipped)
        })?;
    }
    if skipped > 0 {
        context.warn(&format!(
            "{skipped} device nodes, pipes and sockets were not copied: making them needs root"
        ));
    }
    Ok(Outcome::Done)
}

fn extract_node(
    volume: &dyn Volume,
    path: &[u8],
    stat: &Stat,
    dest: &PathBuf,
    skipped: &mut u64,
) -> Result<(), Failure> {
    let named = |e: io::Error| Failure::from(e).while_doing(format!("cannot write `{}`", dest.display()));
    match stat.kind {
        // Directories stay writable for the user, or nothing could be put into a read-only one.
        NodeKind::Dir => fs::create_dir_all(dest).map_err(named)?,
        NodeKind::Symlink => {
            let target = volume.read_link(path)?;
            symlink(std::ffi::OsStr::from_bytes(&target), dest).map_err(named)?;
        }
        NodeKind::File => {
            let output = Output::create(dest)?;
            let mut file: &File = output.file();
            copy_out(volume, path, &mut file)?;
            let mode = fs::Permissions::from_mode(u32::from(stat.mode & 0o777));
            file.set_permissions(mode).map_err(named)?;
            output.finish()?;
        }
        _ => *skipped += 1,
    }
    Ok(())
}

fn side_words(side: &Side) -> String {
    let mut words = vec![side.kind.clone(), side.mode.clone(), side.owner.clone()];
    words.extend(side.size.map(|size| format!("{size} bytes")));
    words.extend(side.digest.as_ref().map(|d| format!("sha256:{}", &d[..12])));
    words.extend(side.target.as_ref().map(|t| format!("-> {t}")));
    words.extend(side.xattrs.keys().cloned());
    words.join(" ")
}

/// `ceil-img diff`
pub fn diff_images(context: &Context, args: &args::Diff) -> Result<Outcome, Failure> {
    let old = context.open_image(&args.old)?;
    let new = context.open_image(&args.new)?;
    let found = diff(&old, &new)?;
    for difference in &found {
        if context.json {
            message::json(difference)?;
            continue;
        }
        let text = match difference {
            Difference::Path {
                change,
                path,
                old,
                new,
            } => match (old, new) {
                (Some(a), Some(b)) => format!(
                    "{change:<8}{path}\n        - {}\n        + {}",
                    side_words(a),
                    side_words(b)
                ),
                (Some(side), None) | (None, Some(side)) => format!("{change:<8}{path}  {}", side_words(side)),
                (None, None) => format!("{change:<8}{path}"),
            },
            Difference::Property {
                change,
                property,
                old,
                new,
            } => format!(
                "{change:<8}{property}: {} -> {}",
                old.as_deref().unwrap_or("(none)"),
                new.as_deref().unwrap_or("(none)")
            ),
        };
        message::line(&text)?;
    }
    Ok(if found.is_empty() {
        Outcome::Done
    } else {
        Outcome::Different
    })
}

/// `ceil-img check`
pub fn check(context: &Context, args: &args::Check) -> Result<Outcome, Failure> {
    let image = context.open_image(&args.image)?;
    let mut findings = 0u64;
    for name in [VolumeName::Boot, VolumeName::Root] {
        let Ok(volume) = image.volume(name) else {
            continue;
        };
        for finding in volume.check()? {
            findings += 1;
            if context.json {
                message::json(
                    &json!({"volume": name.to_string(), "place": finding.place, "what": finding.what}),
                )?;
            } else {
                message::line(&format!("{name}: {finding}"))?;
            }
        }
    }
    for (number, why) in &image.others {
        context.warn(&format!("partition {number} was not checked: {why}"));
    }
    if findings > 0 {
        context.note(&format!("{findings} defects were found"));
        return Ok(Outcome::Different);
    }
    context.note("no defect was found");
    Ok(Outcome::Done)
}
