//! Reading a finished image again: its file systems must be sound and every planned change must be there.

use std::path::Path;

use super::context::Context;
use super::message::Failure;
use crate::diff;
use crate::emit::Manifest;
use crate::fs::{NodeKind, show};
use crate::values::{ImagePath, VolumeName};

/// Compares the file with what its manifest says.
///
/// # Errors
/// The first contradiction.
pub fn built(context: &Context, path: &Path, manifest: &Manifest) -> Result<(), Failure> {
    let image = context.open_image(path)?;
    let wrong = |text: String| {
        Err(Failure::new(format!(
            "`{}` failed its verification: {text}",
            path.display()
        )))
    };
    for name in [VolumeName::Boot, VolumeName::Root] {
        if let Ok(volume) = image.volume(name)
            && let Some(finding) = volume.check()?.first()
        {
            return wrong(format!("{name}: {finding}"));
        }
    }
    for change in &manifest.changes {
        let at: ImagePath = change.path.parse()?;
        let volume = image.volume(at.volume.unwrap_or(VolumeName::Root))?;
        let real = at.path().as_bytes();
        let stat = volume.stat(real)?;
        if change.kind == "removed" {
            if stat.is_some() {
                return wrong(format!("`{}` should be gone", change.path));
            }
            continue;
        }
        let Some(stat) = stat else {
            return wrong(format!("`{}` is missing", change.path));
        };
        let owner = format!("{}:{}", stat.uid, stat.gid);
        let mode = format!("{:04o}", stat.mode);
        let same = stat.kind.to_string() == change.kind
            && change.mode.as_ref() == Some(&mode)
            && change.owner.as_ref() == Some(&owner);
        if !same {
            return wrong(format!("`{}` is a {} {mode} {owner}", change.path, stat.kind));
        }
        match stat.kind {
            NodeKind::File if change.digest.as_ref() != Some(&diff::digest(volume, real)?) => {
                return wrong(format!("`{}` has other content than was planned", change.path));
            }
            NodeKind::Symlink if change.target != Some(show(&volume.read_link(real)?)) => {
                return wrong(format!("`{}` points elsewhere", change.path));
            }
            _ => {}
        }
    }
    context.note(&format!(
        "verified {}: both file systems are sound and {} changed paths are as planned",
        path.display(),
        manifest.changes.len()
    ));
    Ok(())
}
