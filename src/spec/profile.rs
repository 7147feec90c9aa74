use std::collections::BTreeMap;
use std::path::Path;

use crate::plan::{BasePlace, BaseRef, Op, Origin, OutputFormat};
use crate::values::{ByteSize, Digest, DigestKind, shown_url};

use super::edits::{config_txt, dir_of, host_path, join_host, kernel_args, origin, read_edits};
use super::merge::merge;
use super::reader::Node;
use super::yaml::{Kind, Value};
use super::{At, ClusterSpec, Distribution, EditSpec, NodeSpec, Role, Settings, SpecError, Wish, de, yaml};

/// What a kind of node is made of, as one file says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The file it is from, as the user named it.
    pub file: String,
    /// One sentence about it.
    pub description: Option<String>,
    /// The profile below it.
    pub extends: Option<At<String>>,
    /// Profiles laid over that one, in this order.
    pub mixins: Vec<At<String>>,
    /// Its own settings.
    pub value: Value,
}

/// Settings of a node or profile after everything below was merged.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// By their types.
    pub settings: Settings,
    /// Base image; a node or the command line may name another.
    pub base: Option<BaseRef>,
    /// Kernel arguments, config.txt settings and edits, in this order.
    pub edits: Vec<EditSpec>,
    /// What is written.
    pub output: OutputFormat,
    /// Space that must be free on the root volume after all edits.
    pub reserve: ByteSize,
    /// Each value with its place.
    pub value: Value,
}

impl Resolved {
    /// Free space when nothing names any: enough for logs and host keys of a first boot.
    pub const RESERVE: ByteSize = ByteSize(64 * ByteSize::MIB);
}

/// The overlay with the steps of the first boot.
pub const FIRST_BOOT: &str = "first-boot";
const WHAT: &str = "a profile: a map with `base`, `edits` and the like";

/// Reads a profile. Paths of the host are relative to the folder of the file.
///
/// # Errors
/// [`SpecError`] at the first mistake.
pub fn parse_profile(file: &str, text: &str) -> Result<Profile, SpecError> {
    let value = yaml::parse(file, text)?;
    Node::root(&value).entries(WHAT)?;
    let (head, own) = split(value, &["extends", "mixins"]);
    let head = Node::root(&head);
    let name = |node: &Node<'_>| -> Result<At<String>, SpecError> {
        Ok(At {
            value: profile_name(node)?.to_owned(),
            origin: origin(node),
        })
    };
    let fields = head.fields(
        "a map",
        &[
            ("extends", "the name of the profile below this one"),
            ("mixins", "names of profiles to lay over that one"),
        ],
    )?;
    let extends = fields.get("extends")?.map(|n| name(&n)).transpose()?;
    let mixins = match fields.get("mixins")? {
        Some(list) => list
            .list("a list of names of profiles")?
            .iter()
            .map(name)
            .collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    // A mistake is told with the file that has it, not when some node comes to use it.
    let resolved = resolved(own.clone())?;
    Ok(Profile {
        file: file.to_owned(),
        description: resolved.settings.description,
        extends,
        mixins,
        // As it was written: `{replace: [...]}` is about the profiles below.
        value: own,
    })
}

/// The name of a profile: no folder, no ending.
pub(super) fn profile_name<'a>(node: &Node<'a>) -> Result<&'a str, SpecError> {
    let name = node.text("the name of a profile")?;
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
        return Err(node.error(format!(
            "`{}` is not the name of a profile; write it without folder and `.yaml`",
            name.escape_debug()
        )));
    }
    Ok(name)
}

/// Parts a map: the named keys, and the others.
pub(super) fn split(value: Value, keys: &[&str]) -> (Value, Value) {
    let Kind::Map(entries) = value.kind else {
        let head = Value {
            kind: Kind::Map(Vec::new()),
            mark: value.mark,
            file: value.file.clone(),
        };
        return (head, value);
    };
    let (head, rest) = entries
        .into_iter()
        .partition(|(key, _)| keys.contains(&key.text.as_str()));
    let map = |entries| Value {
        kind: Kind::Map(entries),
        mark: value.mark,
        file: value.file.clone(),
    };
    (map(head), map(rest))
}

/// Reads settings.
///
/// # Errors
/// [`SpecError`] at the first mistake.
pub(super) fn resolved(value: Value) -> Result<Resolved, SpecError> {
    // As if it were laid over nothing: `{replace: [...]}` is the list.
    let value = merge(nothing(&value), &value);
    let settings: Settings = de::read(&value, "")?;
    let root = Node::root(&value);
    let get = |key: &str| root.get(key);
    let mut edits = Vec::new();
    if let Some(node) = get("kernel-args") {
        push(&mut edits, kernel_args(&node)?, &node);
    }
    if let Some(node) = get("config-txt") {
        for item in node.list("a list such as `[{section: all, set: {gpu_mem: 16}}]`")? {
            push(&mut edits, config_txt(&item)?, &item);
        }
    }
    if let Some(node) = get("edits") {
        edits.extend(read_edits(&node)?);
    }
    let output = match get("output") {
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
    Ok(Resolved {
        base: get("base").map(|n| base(&n)).transpose()?,
        edits,
        output,
        reserve: settings.reserve.unwrap_or(Resolved::RESERVE),
        settings,
        value,
    })
}

/// An empty map at the place of a value.
fn nothing(value: &Value) -> Value {
    Value {
        kind: Kind::Map(Vec::new()),
        mark: value.mark,
        file: value.file.clone(),
    }
}

/// The settings of a profile with all below it: the chain that it extends, then mix-ins, then its own.
///
/// # Errors
/// [`SpecError`]: a profile that is not there, extends itself, or a mix-in that extends another.
pub fn resolve_profile(name: &str, profiles: &BTreeMap<String, Profile>) -> Result<Option<Value>, SpecError> {
    let Some(profile) = profiles.get(name) else {
        return Ok(None);
    };
    let mut chain = vec![profile];
    let mut top = profile;
    while let Some(extends) = &top.extends {
        let Some(below) = profiles.get(&extends.value) else {
            break;
        };
        if chain.iter().any(|p| std::ptr::eq(*p, below)) {
            return Err(place_error(
                extends,
                "extends",
                &format!("`{}` extends itself", extends.value),
            ));
        }
        chain.push(below);
        top = below;
    }
    let mut value = nothing(&profile.value);
    for profile in chain.iter().rev() {
        for mixin in &profile.mixins {
            let Some(found) = profiles.get(&mixin.value) else {
                continue;
            };
            if found.extends.is_some() || !found.mixins.is_empty() {
                return Err(place_error(
                    mixin,
                    "mixins",
                    &format!(
                        "`{}` rests on other profiles, so it is no mix-in; extend it instead",
                        mixin.value
                    ),
                ));
            }
            value = merge(value, &found.value);
        }
        value = merge(value, &profile.value);
    }
    Ok(Some(value))
}

fn place_error(at: &At<String>, key: &str, message: &str) -> SpecError {
    let mark = yaml::Mark {
        line: at.origin.line,
        column: 1,
    };
    SpecError::new(&at.origin.file, mark, key, message)
}

/// All settings of a node: the cluster's defaults, its profile, its own.
///
/// # Errors
/// [`SpecError`] at the first mistake; a profile that is not there counts as empty.
pub fn resolve_node(
    cluster: &ClusterSpec,
    node: &NodeSpec,
    profiles: &BTreeMap<String, Profile>,
) -> Result<Resolved, SpecError> {
    let mut value = nothing(&node.settings);
    if let Some(defaults) = &cluster.defaults {
        value = merge(value, defaults);
    }
    if let Some(profile) = resolve_profile(&node.profile, profiles)? {
        value = merge(value, &profile);
    }
    let mut resolved = resolved(merge(value, &node.settings))?;
    let settings = &mut resolved.settings;
    if let Some(flannel) = implied_network(cluster)
        && settings.role.as_ref().is_some_and(|r| r.value.in_cluster())
        && settings.addons.iter().all(|addon| addon.value != flannel.value)
    {
        settings.addons.insert(0, flannel);
    }
    if let Some(first_boot) = implied_first_boot(settings) {
        settings.overlays.insert(0, first_boot);
    }
    Ok(resolved)
}

/// The overlay with the steps of the first boot, which every node with a task in the cluster has; the node's other
/// overlays are laid over it.
fn implied_first_boot(settings: &Settings) -> Option<At<String>> {
    let role = settings.role.as_ref().filter(|role| role.value != Role::Helper)?;
    let there = settings.overlays.iter().any(|o| o.value == FIRST_BOOT);
    (!there && settings.first_boot != Some(false)).then(|| At {
        value: FIRST_BOOT.to_owned(),
        origin: role.origin.clone(),
    })
}

/// The add-on that makes the network of pods where neither the distribution nor the user does: kubeadm brings none.
fn implied_network(cluster: &ClusterSpec) -> Option<At<String>> {
    let kubernetes = cluster.kubernetes.as_ref()?;
    let wanted = kubernetes.cni.as_ref().is_none_or(|cni| cni.value == "flannel");
    (kubernetes.distribution.value == Distribution::Kubeadm && wanted).then(|| At {
        value: "flannel".to_owned(),
        origin: kubernetes
            .cni
            .as_ref()
            .map_or(&kubernetes.distribution.origin, |cni| &cni.origin)
            .clone(),
    })
}

fn push(edits: &mut Vec<EditSpec>, op: Op, node: &Node<'_>) {
    edits.push(EditSpec {
        wish: Wish::Op(op),
        origin: origin(node),
    });
}

/// A base: a catalog name, an address, a path, or a map with one of them and checksums.
pub(super) fn base(node: &Node<'_>) -> Result<BaseRef, SpecError> {
    let mut base = BaseRef {
        place: BasePlace::Name(String::new()),
        sha256: None,
        sha512: None,
        raw_sha256: None,
        checksum_url: None,
        origin: origin(node),
    };
    if !matches!(node.value.kind, yaml::Kind::Map(_)) {
        base.place = place(node)?;
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
        (None, None, Some(n)) => BasePlace::Path(host_path(&n)?),
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

fn place(node: &Node<'_>) -> Result<BasePlace, SpecError> {
    base_place(node.text("a catalog name, an address or a path")?, dir_of(node)).map_err(|e| node.error(e))
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
            shown_url(text).escape_debug()
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
