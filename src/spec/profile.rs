use std::path::Path;

use crate::plan::{BasePlace, BaseRef, Op, Origin, OutputFormat};
use crate::values::{ByteSize, Digest, DigestKind};

use super::edits::{config_txt, host_path, join_host, kernel_args, origin, read_edits};
use super::reader::Node;
use super::{EditSpec, SpecError, Wish, yaml};

/// What a kind of node is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// The file it is from, as the user named it.
    pub file: String,
    /// One sentence about it.
    pub description: Option<String>,
    /// Base image; a node or the command line may name another.
    pub base: Option<BaseRef>,
    /// Kernel arguments, config.txt settings and edits, in this order.
    pub edits: Vec<EditSpec>,
    /// What is written.
    pub output: OutputFormat,
    /// Space that must be free on the root volume after all edits.
    pub reserve: ByteSize,
}

impl Profile {
    /// Free space when a profile names none: enough for logs and host keys of a first boot.
    pub const RESERVE: ByteSize = ByteSize(64 * ByteSize::MIB);
}

/// Reads a profile. Paths of the host are taken from `dir`, the folder of the file.
///
/// # Errors
/// [`SpecError`] at the first mistake.
pub fn parse_profile(file: &str, dir: &Path, text: &str) -> Result<Profile, SpecError> {
    let value = yaml::parse(file, text)?;
    let fields = Node::root(file, &value).fields(
        "a profile: a map with `base`, `edits` and the like",
        &[
            ("description", "one sentence about the profile"),
            ("base", "a catalog name, an address or a path of the base image"),
            ("kernel-args", "`add` and `remove`, lists of words"),
            ("config-txt", "a list of sections with keys to set"),
            ("edits", "a list of edits"),
            ("output", "a map with `format`"),
            ("reserve", "free space on the root volume, such as `64MiB`"),
        ],
    )?;
    let mut edits = Vec::new();
    if let Some(node) = fields.get("kernel-args")? {
        push(&mut edits, kernel_args(&node)?, &node);
    }
    if let Some(node) = fields.get("config-txt")? {
        for item in node.list("a list such as `[{section: all, set: {gpu_mem: 16}}]`")? {
            push(&mut edits, config_txt(&item)?, &item);
        }
    }
    if let Some(node) = fields.get("edits")? {
        edits.extend(read_edits(&node, dir)?);
    }
    let output = match fields.get("output")? {
        Some(node) => {
            let output = node.fields(
                "a map such as `{format: img}`",
                &[("format", "`img`, `img.xz`, `img.zst`, `img.gz` or `none`")],
            )?;
            match output.get("format")? {
                Some(node) => node.parse("an output format")?,
                None => OutputFormat::default(),
            }
        }
        None => OutputFormat::default(),
    };
    Ok(Profile {
        file: file.to_owned(),
        description: fields
            .get("description")?
            .map(|n| n.text("a sentence").map(str::to_owned))
            .transpose()?,
        base: fields.get("base")?.map(|n| base(&n, dir)).transpose()?,
        edits,
        output,
        reserve: match fields.get("reserve")? {
            Some(node) => node.parse("a size such as `64MiB`")?,
            None => Profile::RESERVE,
        },
    })
}

fn push(edits: &mut Vec<EditSpec>, op: Op, node: &Node<'_>) {
    edits.push(EditSpec {
        wish: Wish::Op(op),
        origin: origin(node),
    });
}

/// A base: a catalog name, an address, a path, or a map with one of them and checksums.
pub(super) fn base(node: &Node<'_>, dir: &Path) -> Result<BaseRef, SpecError> {
    let mut base = BaseRef {
        place: BasePlace::Name(String::new()),
        sha256: None,
        sha512: None,
        raw_sha256: None,
        checksum_url: None,
        origin: origin(node),
    };
    if !matches!(node.value.kind, yaml::Kind::Map(_)) {
        base.place = place(node, dir)?;
        return Ok(base);
    }
    let fields = node.fields(
        "a base",
        &[
            ("name", "a name of the catalog"),
            ("url", "an address that begins with `https://` or `http://`"),
            ("path", "a file of this host"),
            ("sha256", "64 hex digits, of the file as it is downloaded"),
            ("sha512", "128 hex digits, of the file as it is downloaded"),
            ("raw_sha256", "64 hex digits, of the decompressed image"),
            ("checksum_url", "the address of a list of checksums"),
        ],
    )?;
    let given = (fields.get("name")?, fields.get("url")?, fields.get("path")?);
    base.place = match given {
        (Some(n), None, None) => BasePlace::Name(n.text("a name of the catalog")?.to_owned()),
        (None, Some(n), None) => BasePlace::Url(url(&n)?),
        (None, None, Some(n)) => BasePlace::Path(host_path(&n, dir)?),
        (None, None, None) => {
            return Err(node.error("the place is missing: give one of `name`, `url` and `path`"));
        }
        _ => return Err(node.error("give only one of `name`, `url` and `path`")),
    };
    let digest = |key: &str, kind: DigestKind| -> Result<Option<Digest>, SpecError> {
        let Some(node) = fields.get(key)? else {
            return Ok(None);
        };
        let digest: Digest = node.parse("a digest")?;
        if digest.kind() != kind {
            return Err(node.error(format!(
                "expected {} hex digits, found a {} value",
                kind.hex_len(),
                digest.kind().name()
            )));
        }
        Ok(Some(digest))
    };
    base.sha256 = digest("sha256", DigestKind::Sha256)?;
    base.sha512 = digest("sha512", DigestKind::Sha512)?;
    base.raw_sha256 = digest("raw_sha256", DigestKind::Sha256)?;
    base.checksum_url = fields.get("checksum_url")?.map(|n| url(&n)).transpose()?;
    Ok(base)
}

/// A base from a word of the command line: a catalog name, an address, or a path as the shell gave it.
///
/// # Errors
/// A sentence about what is wrong with the word.
pub fn parse_base(text: &str) -> Result<BaseRef, String> {
    Ok(BaseRef {
        place: base_place(text, Path::new(""))?,
        sha256: None,
        sha512: None,
        raw_sha256: None,
        checksum_url: None,
        origin: Origin {
            file: "--base".to_owned(),
            line: 0,
        },
    })
}

fn place(node: &Node<'_>, dir: &Path) -> Result<BasePlace, SpecError> {
    base_place(node.text("a catalog name, an address or a path")?, dir).map_err(|e| node.error(e))
}

/// What has a scheme is an address, what has a slash or names an image file is a path, the rest is a name.
fn base_place(text: &str, dir: &Path) -> Result<BasePlace, String> {
    if text.contains("://") {
        return check_url(text).map(BasePlace::Url);
    }
    if text.contains('\0') {
        return Err("a path holds no NUL byte".to_owned());
    }
    if text.contains('/') || text.contains(".img") {
        return Ok(BasePlace::Path(join_host(dir, text)));
    }
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("`{}` is not a name of the catalog", text.escape_debug()));
    }
    Ok(BasePlace::Name(text.to_owned()))
}

fn url(node: &Node<'_>) -> Result<String, SpecError> {
    check_url(node.text("an address")?).map_err(|e| node.error(e))
}

fn check_url(text: &str) -> Result<String, String> {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control()) => {
            Ok(text.to_owned())
        }
        _ => Err(format!(
            "`{}` is not an address; it begins with `https://` or `http://`",
            text.escape_debug()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_name_an_address_or_a_path() {
        let path = |p: &str| BasePlace::Path(p.into());
        for (text, place) in [
            ("demo", BasePlace::Name("demo".to_owned())),
            (
                "https://x/a.img.xz",
                BasePlace::Url("https://x/a.img.xz".to_owned()),
            ),
            ("../a/b.img.xz", path("../a/b.img.xz")),
            ("/a/b", path("/a/b")),
            ("b.img", path("b.img")),
            ("./b", path("b")),
        ] {
            assert_eq!(parse_base(text).map(|b| b.place), Ok(place), "{text}");
        }
        for text in ["", "a b", "ftp://x/", "https://"] {
            assert!(parse_base(text).is_err(), "{text}");
        }
    }
}
