//! Reading a finished image again: its file systems must be sound and every planned change must be there.

use std::path::Path;
use std::sync::Arc;

use super::context::{Context, digest_of};
use super::message::Failure;
use crate::diff;
use crate::disk::{Overlay, Source};
use crate::emit::Manifest;
use crate::fetch::FileSource;
use crate::fs::{NodeKind, show};
use crate::image::Image;
use crate::values::{ImagePath, VolumeName};

/// Compares the file with what its manifest says: its digest, and the image inside. Where the file is packed, the
/// image is looked at as it was before packing.
///
/// # Errors
/// The first contradiction.
pub fn built(
    context: &Context,
    path: &Path,
    image: &Arc<Overlay>,
    manifest: &Manifest,
) -> Result<(), Failure> {
    let file = FileSource::held(path)?;
    if Some(digest_of(&file)?) != manifest.image.file_digest {
        return Err(Failure::new(format!(
            "`{}` failed its verification: its SHA-256 is not what was written",
            path.display()
        )));
    }
    let packed = manifest.image.file_digest != manifest.image.raw_digest;
    let source: Arc<dyn Source> = if packed {
        Arc::clone(image) as _
    } else {
        Arc::new(file)
    };
    Image::open(source)
        .map_err(Failure::from)
        .and_then(|image| compare(&image, manifest))
        .map_err(|e| e.while_doing(format!("`{}` failed its verification", path.display())))?;
    context.note(&format!(
        "verified {}: both file systems are sound and {} changed paths are as planned",
        path.display(),
        manifest.changes.len()
    ));
    Ok(())
}

/// Compares an image that is not written to a file with its manifest.
///
/// # Errors
/// The first contradiction.
pub fn unwritten(image: &Arc<Overlay>, manifest: &Manifest) -> Result<(), Failure> {
    compare(&Image::open(Arc::clone(image) as _)?, manifest)
}

fn compare(image: &Image, manifest: &Manifest) -> Result<(), Failure> {
    let wrong = |text: String| Err(Failure::new(text));
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
            NodeKind::File
                if !change.secret && change.digest.as_ref() != Some(&diff::digest(volume, real)?) =>
            {
                return wrong(format!("`{}` has other content than was planned", change.path));
            }
            NodeKind::Symlink if change.target != Some(show(&volume.read_link(real)?)) => {
                return wrong(format!("`{}` points elsewhere", change.path));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo;
    use crate::disk::{BlockIo, Bytes};
    use crate::emit::{ChangedPath, ImageFacts};
    use crate::fs::{Attrs, Time};
    use crate::values::Digest;

    fn change(path: &str, kind: &str, mode: &str) -> ChangedPath {
        ChangedPath {
            path: path.to_owned(),
            kind: kind.to_owned(),
            mode: Some(mode.to_owned()),
            owner: Some("0:0".to_owned()),
            size: None,
            digest: None,
            secret: false,
            target: None,
        }
    }

    /// What the demo base holds, as if it had been planned.
    fn manifest() -> Manifest {
        let zero = Digest::sha256(b"");
        Manifest {
            tool: String::new(),
            manifest_version: 1,
            cluster: String::new(),
            node: String::new(),
            plan: zero.clone(),
            inputs: Vec::new(),
            image: ImageFacts {
                file: None,
                file_digest: None,
                raw_digest: None,
                raw_size: 0,
                used: 0,
                content: zero,
            },
            kernel_command_line: None,
            changes: vec![
                ChangedPath {
                    digest: Some(Digest::sha256(b"raspberrypi\n").hex()),
                    ..change("root:/etc/hostname", "file", "0644")
                },
                change("root:/srv", "directory", "0755"),
                ChangedPath {
                    target: Some("usr/bin".to_owned()),
                    ..change("root:/bin", "symlink", "0777")
                },
                ChangedPath {
                    mode: None,
                    owner: None,
                    ..change("root:/etc/gone", "removed", "")
                },
            ],
        }
    }

    /// The complaint about the demo base after something was done to it behind the plan's back.
    fn complaint(tamper: impl FnOnce(&mut Image)) -> String {
        let mut image = Image::open(demo::image().unwrap()).unwrap();
        tamper(&mut image);
        match compare(&image, &manifest()) {
            Ok(()) => String::new(),
            Err(failure) => failure.render(),
        }
    }

    const ATTRS: Attrs = Attrs {
        mode: None,
        owner: None,
        mtime: None,
        now: Time { secs: 0, nanos: 0 },
    };

    #[test]
    fn what_was_tampered_with_is_named() {
        assert_eq!(complaint(|_| {}), "");
        let put = |path: &'static [u8], text: &'static [u8]| {
            complaint(move |image| {
                let root = image.volume_mut(VolumeName::Root).unwrap();
                root.put_file(path, &Bytes::shared(text), false, &ATTRS).unwrap();
            })
        };
        // One letter of twelve.
        let said = put(b"/etc/hostname", b"raspberrypj\n");
        assert!(
            said.contains("`root:/etc/hostname` has other content than was planned"),
            "{said}"
        );
        let said = put(b"/etc/gone", b"");
        assert!(said.contains("`root:/etc/gone` should be gone"), "{said}");
        let said = complaint(|image| {
            let root = image.volume_mut(VolumeName::Root).unwrap();
            let attrs = Attrs {
                mode: Some(0o700),
                ..ATTRS
            };
            root.set_attrs(b"/srv", &attrs).unwrap();
        });
        assert!(said.contains("`root:/srv` is a directory 0700 0:0"), "{said}");
        let said = complaint(|image| {
            let root = image.volume_mut(VolumeName::Root).unwrap();
            root.remove(b"/bin", false, ATTRS.now).unwrap();
        });
        assert!(said.contains("`root:/bin` is missing"), "{said}");
        let said = complaint(|image| {
            let root = image.volume_mut(VolumeName::Root).unwrap();
            root.remove(b"/bin", false, ATTRS.now).unwrap();
            root.symlink(b"/bin", b"usr/sbin", &ATTRS).unwrap();
        });
        assert!(said.contains("`root:/bin` points elsewhere"), "{said}");
    }

    #[test]
    fn a_damaged_file_system_is_named() {
        // The copy of the FAT behind its 32 reserved sectors: the two must say the same.
        let start = 8 << 20;
        let image = Image::open(demo::image().unwrap()).unwrap();
        image.overlay.write_at(start + 33 * 512, &[0xaa; 16]).unwrap();
        let failure = compare(&image, &manifest()).unwrap_err();
        assert!(failure.render().contains("boot: "), "{}", failure.render());
    }
}
