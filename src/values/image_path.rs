use std::fmt;
use std::str::FromStr;

/// One of the two volumes of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VolumeName {
    /// The FAT partition that the firmware reads.
    Boot,
    /// The root file system.
    Root,
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Boot => "boot",
            Self::Root => "root",
        })
    }
}

/// A place in an image: `boot:/config.txt`, `root:/etc/motd`, or a plain absolute path such as
/// `/boot/firmware/cmdline.txt`, which is resolved through the image's own fstab.
///
/// The path is kept without doubled slashes, `.` or a trailing slash; the root of a volume is `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImagePath {
    /// The volume named, or `None` for a plain absolute path.
    pub volume: Option<VolumeName>,
    path: String,
}

/// Why a text is not an [`ImagePath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a path in an image: {why}")]
pub struct ImagePathError {
    text: String,
    why: &'static str,
}

impl ImagePath {
    /// A path on a named volume. The path must be absolute.
    pub fn on(volume: VolumeName, path: &str) -> Result<Self, ImagePathError> {
        Ok(Self {
            volume: Some(volume),
            path: normalise(path).map_err(|why| ImagePathError {
                text: path.to_owned(),
                why,
            })?,
        })
    }

    /// The absolute path below the volume.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// This place with one more component.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        let path = if self.path == "/" {
            format!("/{name}")
        } else {
            format!("{}/{name}", self.path)
        };
        Self {
            volume: self.volume,
            path,
        }
    }
}

fn normalise(path: &str) -> Result<String, &'static str> {
    if !path.starts_with('/') {
        return Err("write it as `boot:/…`, `root:/…` or an absolute path");
    }
    if path.contains('\0') {
        return Err("it holds a NUL byte");
    }
    let mut out = String::with_capacity(path.len());
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => return Err("`..` is not allowed"),
            name if name.len() > 255 => return Err("a component is longer than 255 bytes"),
            name => {
                out.push('/');
                out.push_str(name);
            }
        }
    }
    if out.is_empty() {
        out.push('/');
    }
    if out.len() > 4095 {
        return Err("it is longer than 4095 bytes");
    }
    Ok(out)
}

impl FromStr for ImagePath {
    type Err = ImagePathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (volume, path) = if let Some(path) = text.strip_prefix("boot:") {
            (Some(VolumeName::Boot), path)
        } else if let Some(path) = text.strip_prefix("root:") {
            (Some(VolumeName::Root), path)
        } else {
            (None, text)
        };
        let path = normalise(path).map_err(|why| ImagePathError {
            text: text.to_owned(),
            why,
        })?;
        Ok(Self { volume, path })
    }
}

impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.volume {
            Some(volume) => write!(f, "{volume}:{}", self.path),
            None => f.write_str(&self.path),
        }
    }
}

impl serde::Serialize for ImagePath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_three_forms() {
        for (text, printed) in [
            ("boot:/config.txt", "boot:/config.txt"),
            ("root:/", "root:/"),
            ("root://etc/./motd/", "root:/etc/motd"),
            ("/boot/firmware/cmdline.txt", "/boot/firmware/cmdline.txt"),
        ] {
            let path: ImagePath = text.parse().expect(text);
            assert_eq!(path.to_string(), printed);
        }
    }

    #[test]
    fn refuses_what_could_leave_the_image() {
        for text in [
            "etc/motd",
            "root:etc",
            "root:/a/../b",
            "",
            "data:/x",
            "root:/a\0b",
        ] {
            assert!(text.parse::<ImagePath>().is_err(), "{text}");
        }
    }

    #[test]
    fn joins() {
        let root: ImagePath = "root:/".parse().expect("root");
        assert_eq!(root.join("etc").join("motd").to_string(), "root:/etc/motd");
    }
}
