mod ops;

use std::path::{Path, PathBuf};

use crate::plan::{Attributes, Content, Op, Origin, Xattr};
use crate::values::{ImagePath, Mode, Owner, VolumeName};

use super::owners::{OwnerRule, OwnerRules, check_pattern};
use super::reader::{Fields, Node, list_words, nearest};
use super::{SpecError, parse_time, yaml};
pub(super) use ops::{config_txt, kernel_args};
use ops::{fstab, grow, xattr_changes, xattrs};

/// One edit as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditSpec {
    /// What is wished.
    pub wish: Wish,
    /// Where it stands.
    pub origin: Origin,
}

/// An edit, before files of the host were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Needs nothing from the host.
    Op(Op),
    /// A file whose bytes come from a payload.
    Put {
        /// Where.
        at: ImagePath,
        /// What.
        payload: Payload,
        /// Mode, owner, time.
        attributes: Attributes,
        /// Extended attributes.
        xattrs: Vec<Xattr>,
        /// Leave blocks of zeroes unallocated.
        sparse: bool,
    },
    /// Bytes at the end of a file.
    Append {
        /// The file.
        at: ImagePath,
        /// What.
        payload: Payload,
    },
    /// An overlay folder.
    Tree {
        /// The directory of the image that it is laid over.
        at: ImagePath,
        /// The folder on the host.
        from: PathBuf,
        /// Owner of everything that no rule names.
        owner: Option<Owner>,
        /// Rules of the edit; they win over the tree's own `.ceil-owners`.
        owners: OwnerRules,
    },
}

/// Where bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Written down.
    Inline(Content),
    /// A file of the host.
    File(PathBuf),
    /// A minijinja template on the host.
    Template(PathBuf),
}

type Known = &'static [(&'static str, &'static str)];

const PATH: &str = "a path in the image, such as `root:/etc/motd`";
const TARGET: &str = "the file that exists";
const MODE: &str = "permission bits in quotes, such as \"0644\"";
const OWNER: &str = "a numeric owner as `uid:gid`";
const MTIME: &str = "a modification time";
const CONTENT: &str = "a text";
const FROM: &str = "a file of this host";
const TEMPLATE: &str = "a template of this host";

/// Every kind of edit with its keys; the first key is the kind's own name.
const KINDS: &[Known] = &[
    &[
        ("put", PATH),
        ("content", CONTENT),
        ("from", FROM),
        ("template", TEMPLATE),
        ("mode", MODE),
        ("owner", OWNER),
        ("mtime", MTIME),
        ("xattrs", "extended attributes by name"),
        ("sparse", "`true` to leave blocks of zeroes unallocated"),
    ],
    &[
        ("tree", PATH),
        ("from", "a folder of this host"),
        ("owner", OWNER),
        ("owners", "a list of `{path, mode, owner}` rules"),
    ],
    &[("dir", PATH), ("mode", MODE), ("owner", OWNER), ("mtime", MTIME)],
    &[
        ("symlink", PATH),
        ("to", "what it points to"),
        ("owner", OWNER),
        ("mtime", MTIME),
    ],
    &[("hardlink", PATH), ("to", TARGET)],
    &[("rename", "the name that exists"), ("to", "the new name")],
    &[
        ("append", PATH),
        ("content", CONTENT),
        ("from", FROM),
        ("template", TEMPLATE),
    ],
    &[
        ("remove", PATH),
        ("recursive", "`true` to remove a directory with its contents"),
        ("if-exists", "`true` if it need not be there"),
    ],
    &[("chmod", PATH), ("mode", MODE)],
    &[("chown", PATH), ("owner", OWNER)],
    &[("mtime", PATH), ("to", MTIME)],
    &[
        ("xattr", PATH),
        ("set", "extended attributes by name"),
        ("remove", "a list of names"),
    ],
    &[("kernel-args", "`add` and `remove`, lists of words")],
    &[("config-txt", "a section with keys to set")],
    &[("fstab", "a mount point with its fields")],
    &[("grow", "how far the root volume grows")],
];

/// Reads a stand-alone file of edits: `edits: [...]` or the list alone. Paths of the host are relative to the file.
///
/// # Errors
/// [`SpecError`] at the first mistake.
pub fn parse_edits(file: &str, text: &str) -> Result<Vec<EditSpec>, SpecError> {
    let value = yaml::parse(file, text)?;
    let mut root = Node::root(&value);
    if matches!(value.kind, yaml::Kind::List(_)) {
        "edits".clone_into(&mut root.path);
        return read_edits(&root);
    }
    let fields = root.fields(
        "`edits:` or a list of edits",
        &[("edits", "the list of edits to carry out")],
    )?;
    read_edits(&fields.need("edits")?)
}

pub(super) fn read_edits(node: &Node<'_>) -> Result<Vec<EditSpec>, SpecError> {
    let mut edits = Vec::new();
    for item in node.list("a list of edits")? {
        edits.push(EditSpec {
            wish: read_edit(&item)?,
            origin: origin(&item),
        });
    }
    Ok(edits)
}

pub(super) fn origin(node: &Node<'_>) -> Origin {
    Origin {
        file: node.file().to_owned(),
        line: node.line(),
    }
}

fn names() -> impl Iterator<Item = &'static str> + Clone {
    KINDS
        .iter()
        .filter_map(|keys| keys.first().map(|(name, _)| *name))
}

/// The kind of an edit. `mtime` and `remove` are also plain keys of other kinds, so they decide only alone.
fn kind(node: &Node<'_>) -> Result<Known, SpecError> {
    let entries = node.entries("an edit, such as `{put: \"root:/etc/motd\", content: hello}`")?;
    let mut found: Vec<&str> = names()
        .filter(|name| entries.iter().any(|(k, _)| k == name))
        .collect();
    if found.len() > 1 {
        found.retain(|name| *name != "mtime");
    }
    if found.contains(&"xattr") {
        found.retain(|name| *name != "remove");
    }
    match found[..] {
        [name] => Ok(KINDS
            .iter()
            .find(|keys| keys.first().is_some_and(|(n, _)| *n == name))
            .copied()
            .unwrap_or_default()),
        [] => {
            let suggestion = entries.iter().find_map(|(k, _)| nearest(k, names()));
            let hint = suggestion.map_or(String::new(), |n| format!(", did you mean `{n}`?"));
            let first = entries.first().map_or("", |(k, _)| k);
            Err(node.error(format!(
                "`{first}` is no kind of edit{hint}; the kinds are {}",
                list_words(names())
            )))
        }
        _ => Err(node.error(format!(
            "one edit does one thing, this one has {}; write one list item for each",
            list_words(found.iter().copied())
        ))),
    }
}

fn read_edit(node: &Node<'_>) -> Result<Wish, SpecError> {
    let keys = kind(node)?;
    let name = keys.first().map_or("", |(name, _)| name);
    let fields = node.fields("an edit", keys)?;
    let subject = fields.need(name)?;
    let at = || subject.parse_text::<ImagePath>(PATH);
    Ok(match name {
        "put" => Wish::Put {
            at: not_the_root(&subject, at()?)?,
            payload: payload(&fields)?,
            attributes: attributes(&fields, &at()?)?,
            xattrs: match fields.get("xattrs")? {
                Some(map) => {
                    on_root(&map, at()?, "extended attributes")?;
                    xattrs(&map)?
                }
                None => Vec::new(),
            },
            sparse: flag(&fields, "sparse")?,
        },
        "append" => Wish::Append {
            at: not_the_root(&subject, at()?)?,
            payload: payload(&fields)?,
        },
        "tree" => tree(&fields, at()?)?,
        "dir" => Wish::Op(Op::Dir {
            at: at()?,
            attributes: attributes(&fields, &at()?)?,
        }),
        "symlink" => {
            let to = fields.need("to")?;
            let target = to.scalar("what it points to")?;
            // Linux stores at most one page less one byte.
            if target.is_empty() || target.len() > 4095 || target.contains('\0') {
                return Err(to.error("a symlink points to a text of 1 to 4095 bytes without NUL"));
            }
            Wish::Op(Op::Symlink {
                at: on_root(&subject, at()?, "symlinks")?,
                to: target.to_owned(),
                attributes: attributes(&fields, &at()?)?,
            })
        }
        "hardlink" => Wish::Op(Op::Hardlink {
            at: on_root(&subject, at()?, "hard links")?,
            to: fields.need("to")?.parse_text(PATH)?,
        }),
        "rename" => Wish::Op(Op::Rename {
            from: not_the_root(&subject, at()?)?,
            to: fields.need("to")?.parse_text(PATH)?,
        }),
        "remove" => Wish::Op(Op::Remove {
            at: not_the_root(&subject, at()?)?,
            recursive: flag(&fields, "recursive")?,
            if_exists: flag(&fields, "if-exists")?,
        }),
        "chmod" => Wish::Op(Op::Chmod {
            at: on_root(&subject, at()?, "modes")?,
            mode: mode(&fields.need("mode")?)?,
        }),
        "chown" => Wish::Op(Op::Chown {
            at: on_root(&subject, at()?, "owners")?,
            owner: owner(&fields.need("owner")?)?,
        }),
        "mtime" => {
            let to = fields.need("to")?;
            Wish::Op(Op::Mtime {
                at: at()?,
                mtime: parse_time(to.scalar(MTIME)?).map_err(|e| to.error(e))?,
            })
        }
        "xattr" => Wish::Op(Op::Xattrs {
            at: on_root(&subject, at()?, "extended attributes")?,
            xattrs: xattr_changes(&fields)?,
        }),
        "kernel-args" => Wish::Op(kernel_args(&subject)?),
        "config-txt" => Wish::Op(config_txt(&subject)?),
        "fstab" => Wish::Op(fstab(&subject)?),
        _ => Wish::Op(grow(&subject)?),
    })
}

fn not_the_root(node: &Node<'_>, at: ImagePath) -> Result<ImagePath, SpecError> {
    if at.path() == "/" {
        return Err(node.error(format!("`{at}` is the root of the volume; name a place below it")));
    }
    Ok(at)
}

/// FAT has none of these.
fn on_root(node: &Node<'_>, at: ImagePath, what: &str) -> Result<ImagePath, SpecError> {
    if at.volume == Some(VolumeName::Boot) {
        return Err(node.error(format!("the boot volume is FAT, which has no {what}")));
    }
    Ok(at)
}

fn flag(fields: &Fields<'_>, key: &str) -> Result<bool, SpecError> {
    fields.get(key)?.map_or(Ok(false), |node| node.boolean())
}

fn mode(node: &Node<'_>) -> Result<Mode, SpecError> {
    if let yaml::Kind::Scalar { text, plain: true } = &node.value.kind
        && yaml::is_number(text)
    {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        return Err(node.error(format!(
            "a mode must stand in quotes, because YAML reads {text} as a number: write \"{digits:0>4}\""
        )));
    }
    node.parse_text(MODE)
}

/// `0:0` needs no quotes: YAML 1.2 has no base-60 numbers.
fn owner(node: &Node<'_>) -> Result<Owner, SpecError> {
    node.parse(OWNER)
}

fn attributes(fields: &Fields<'_>, at: &ImagePath) -> Result<Attributes, SpecError> {
    for (key, what) in [("mode", "modes"), ("owner", "owners")] {
        if let Some(node) = fields.get(key)? {
            on_root(&node, at.clone(), what)?;
        }
    }
    Ok(Attributes {
        mode: fields.get("mode")?.as_ref().map(mode).transpose()?,
        owner: fields.get("owner")?.as_ref().map(owner).transpose()?,
        mtime: match fields.get("mtime")? {
            Some(node) => Some(parse_time(node.scalar(MTIME)?).map_err(|e| node.error(e))?),
            None => None,
        },
    })
}

fn payload(fields: &Fields<'_>) -> Result<Payload, SpecError> {
    // `content:` with nothing is an empty file.
    let content = fields.get_or_null("content");
    let from = fields.get("from")?;
    let template = fields.get("template")?;
    match (content, from, template) {
        (Some(node), None, None) => {
            let text = if node.value.is_null() {
                ""
            } else {
                node.scalar(CONTENT)?
            };
            Ok(Payload::Inline(Content::inline(text.as_bytes())))
        }
        (None, Some(node), None) => Ok(Payload::File(host_path(&node)?)),
        (None, None, Some(node)) => Ok(Payload::Template(host_path(&node)?)),
        (None, None, None) => Err(fields
            .node
            .error("the bytes are missing: give one of `content`, `from` and `template`")),
        _ => Err(fields
            .node
            .error("give only one of `content`, `from` and `template`")),
    }
}

/// A path of the host, relative to the file that names it.
pub(super) fn host_path(node: &Node<'_>) -> Result<PathBuf, SpecError> {
    let text = node.text("a path on this host")?;
    if text.is_empty() || text.contains('\0') {
        return Err(node.error("the path is empty"));
    }
    Ok(join_host(dir_of(node), text))
}

/// The folder of the file that a value is from; paths of the host are relative to it.
pub(super) fn dir_of<'a>(node: &Node<'a>) -> &'a Path {
    Path::new(node.file()).parent().unwrap_or(Path::new(""))
}

/// `./x` is shown as `x`.
pub(super) fn join_host(dir: &Path, text: &str) -> PathBuf {
    match text.strip_prefix("./").filter(|rest| !rest.is_empty()) {
        Some(rest) => dir.join(rest),
        None => dir.join(text),
    }
}

fn tree(fields: &Fields<'_>, at: ImagePath) -> Result<Wish, SpecError> {
    let mut rules = Vec::new();
    if let Some(list) = fields.get("owners")? {
        for item in list.list("a list of rules")? {
            let rule = item.fields(
                "a rule, such as `{path: etc/shadow, mode: \"0640\", owner: \"0:42\"}`",
                &[
                    ("path", "a pattern below the tree, such as `srv/**`"),
                    ("mode", MODE),
                    ("owner", OWNER),
                ],
            )?;
            let path = rule.need("path")?;
            let pattern = path.text("a pattern below the tree")?;
            check_pattern(pattern).map_err(|e| path.error(e))?;
            rules.push(OwnerRule {
                path: pattern.to_owned(),
                mode: rule.get("mode")?.as_ref().map(mode).transpose()?,
                owner: rule.get("owner")?.as_ref().map(owner).transpose()?,
            });
        }
    }
    Ok(Wish::Tree {
        at,
        from: host_path(&fields.need("from")?)?,
        owner: fields.get("owner")?.as_ref().map(owner).transpose()?,
        owners: OwnerRules(rules),
    })
}
