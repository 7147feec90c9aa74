//! Edits that are written as a map of their own, and extended attributes.

use crate::plan::{GrowRule, Op, Xattr};

use crate::spec::reader::{Fields, Node};
use crate::spec::{SpecError, yaml};

use super::flag;

/// Name spaces that an image can carry.
const NAMESPACES: [&str; 4] = ["user.", "security.", "trusted.", "system.posix_acl_"];

fn xattr_name(node: &Node<'_>, name: &str) -> Result<String, SpecError> {
    let known = NAMESPACES
        .iter()
        .any(|n| name.starts_with(n) && name.len() > n.len());
    if !known || name.len() > 255 {
        return Err(node.error(format!(
            "`{name}` is not the name of an extended attribute; it begins with `user.`, `security.`, `trusted.` or `system.posix_acl_` and has 255 bytes at most"
        )));
    }
    Ok(name.to_owned())
}

/// Values as `setfattr` takes them: text, or bytes as `0x…`; null removes.
pub(super) fn xattrs(map: &Node<'_>) -> Result<Vec<Xattr>, SpecError> {
    let mut out = Vec::new();
    for (name, node) in map.entries("a map of names and values")? {
        let value = if node.value.is_null() {
            None
        } else {
            let text = node.scalar("a text, or bytes as `0x…`")?;
            Some(match text.strip_prefix("0x") {
                Some(hex) => unhex(hex).ok_or_else(|| {
                    node.error(format!(
                        "`{text}` is not hexadecimal: write an even number of digits"
                    ))
                })?,
                None => text.as_bytes().to_vec(),
            })
        };
        out.push(Xattr {
            name: xattr_name(&node, name)?,
            value,
        });
    }
    out.sort();
    Ok(out)
}

pub(super) fn xattr_changes(fields: &Fields<'_>) -> Result<Vec<Xattr>, SpecError> {
    let mut out = match fields.get("set")? {
        Some(map) => xattrs(&map)?,
        None => Vec::new(),
    };
    if let Some(list) = fields.get("remove")? {
        for item in list.list("a list of names")? {
            let name = xattr_name(&item, item.text("a name")?)?;
            if out.iter().any(|x| x.name == name) {
                return Err(item.error(format!("`{name}` is set and removed")));
            }
            out.push(Xattr { name, value: None });
        }
    }
    if out.is_empty() {
        return Err(fields.node.error("nothing to do: give `set` or `remove`"));
    }
    out.sort();
    Ok(out)
}

fn unhex(hex: &str) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    hex.as_bytes()
        .chunks_exact(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// `{add: [...], remove: [...]}`.
pub(in crate::spec) fn kernel_args(node: &Node<'_>) -> Result<Op, SpecError> {
    let fields = node.fields(
        "a map with `add` and `remove`",
        &[
            ("add", "words to add unless they are there"),
            ("remove", "words to remove, whole or by the key before `=`"),
        ],
    )?;
    let words = |key: &str| -> Result<Vec<String>, SpecError> {
        let Some(list) = fields.get(key)? else {
            return Ok(Vec::new());
        };
        list.list("a list of words")?
            .iter()
            .map(|item| {
                let word = item.scalar("a word")?;
                if word.is_empty() || word.chars().any(|c| c.is_whitespace() || c.is_control()) {
                    return Err(item.error(format!(
                        "`{}` is not one word of a command line; write one list item for each",
                        word.escape_debug()
                    )));
                }
                if !word.is_ascii() {
                    return Err(item.error(format!("`{word}` is not ASCII, as the firmware wants it")));
                }
                Ok(word.to_owned())
            })
            .collect()
    };
    let (add, remove) = (words("add")?, words("remove")?);
    if let Some(both) = add.iter().find(|w| remove.contains(w)) {
        return Err(node.error(format!("`{both}` is added and removed")));
    }
    Ok(Op::KernelArgs { add, remove })
}

/// `{section: all, set: {gpu_mem: 16}, unset: [...]}`; a list as a value sets a key several times.
pub(in crate::spec) fn config_txt(node: &Node<'_>) -> Result<Op, SpecError> {
    let fields = node.fields(
        "a map such as `{section: all, set: {gpu_mem: 16}}`",
        &[
            ("section", "a section without brackets, `all` by default"),
            ("set", "keys with their values"),
            ("unset", "a list of keys to remove"),
        ],
    )?;
    let section = match fields.get("section")? {
        Some(node) => {
            let text = node.scalar("a section")?;
            let bad = |c: char| c.is_control() || c.is_whitespace() || c == '[' || c == ']';
            if text.is_empty() || text.contains(bad) {
                return Err(node.error(format!(
                    "`{}` is not a section; write it without brackets, such as `all` or `pi4`",
                    text.escape_debug()
                )));
            }
            text.to_owned()
        }
        None => "all".to_owned(),
    };
    let mut set = Vec::new();
    if let Some(map) = fields.get("set")? {
        for (key, node) in map.entries("a map of keys and values")? {
            config_key(&node, key)?;
            if matches!(node.value.kind, yaml::Kind::List(_)) {
                for item in node.list("a list of values")? {
                    set.push((key.to_owned(), config_value(&item, key)?));
                }
            } else {
                set.push((key.to_owned(), config_value(&node, key)?));
            }
        }
    }
    let mut unset = Vec::new();
    if let Some(list) = fields.get("unset")? {
        for item in list.list("a list of keys")? {
            let key = item.text("a key")?;
            config_key(&item, key)?;
            if set.iter().any(|(k, _)| k == key) {
                return Err(item.error(format!("`{key}` is set and unset")));
            }
            unset.push(key.to_owned());
        }
    }
    Ok(Op::ConfigTxt { section, set, unset })
}

fn config_key(node: &Node<'_>, key: &str) -> Result<(), SpecError> {
    let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.');
    if key.is_empty() || !key.chars().all(ok) {
        return Err(node.error(format!("`{}` is not a key of config.txt", key.escape_debug())));
    }
    Ok(())
}

fn config_value(node: &Node<'_>, key: &str) -> Result<String, SpecError> {
    let text = node.scalar("a value")?;
    if text.chars().any(char::is_control) {
        return Err(node.error("a value of config.txt is one line"));
    }
    let text = text.trim();
    // Longer lines are cut by the firmware (config.txt documentation, "line length").
    if key.len() + 1 + text.len() > 98 {
        return Err(node.error("a line of config.txt has 98 characters at most"));
    }
    Ok(text.to_owned())
}

pub(super) fn fstab(node: &Node<'_>) -> Result<Op, SpecError> {
    let fields = node.fields(
        "a map such as `{mount: /data, device: LABEL=data, type: ext4}`",
        &[
            ("mount", "the mount point"),
            ("device", "what is mounted, such as `LABEL=data`"),
            ("type", "the file system type"),
            ("options", "mount options, `defaults` by default"),
            ("dump", "0 or 1, 0 by default"),
            ("pass", "0, 1 or 2, the order of fsck, 0 by default"),
            ("remove", "`true` to remove the entry"),
        ],
    )?;
    let word = |node: &Node<'_>, what: &str| -> Result<String, SpecError> {
        let text = node.scalar(what)?;
        if text.is_empty() || text.starts_with('#') || text.chars().any(char::is_control) {
            return Err(node.error(format!("expected {what}")));
        }
        // fstab(5): a blank inside a field is written as its octal code.
        Ok(text.replace(' ', "\\040"))
    };
    let mount = word(&fields.need("mount")?, "a mount point")?;
    if flag(&fields, "remove")? {
        if let Some(extra) = fields.get("device")? {
            return Err(extra.error("an entry to be removed has no device"));
        }
        return Ok(Op::Fstab { mount, line: None });
    }
    let number = |key: &str, max: u8| -> Result<u8, SpecError> {
        let Some(node) = fields.get(key)? else {
            return Ok(0);
        };
        match node.scalar("a number")?.parse() {
            Ok(n) if n <= max => Ok(n),
            _ => Err(node.error(format!("expected a number from 0 to {max}"))),
        }
    };
    let device = word(&fields.need("device")?, "a device")?;
    let kind = word(&fields.need("type")?, "a file system type")?;
    let options = match fields.get("options")? {
        Some(node) => word(&node, "mount options")?,
        None => "defaults".to_owned(),
    };
    let line = format!(
        "{device} {mount} {kind} {options} {} {}",
        number("dump", 1)?,
        number("pass", 2)?
    );
    Ok(Op::Fstab {
        mount,
        line: Some(line),
    })
}

pub(super) fn grow(node: &Node<'_>) -> Result<Op, SpecError> {
    let fields = node.fields(
        "a map such as `{root: \"+256MiB\"}` or `{free: 1GiB}`",
        &[
            ("root", "by how much, such as \"+256MiB\""),
            ("free", "how much must be free, such as `1GiB`"),
        ],
    )?;
    let root = match (fields.get("root")?, fields.get("free")?) {
        (Some(node), None) => {
            let text = node.scalar("a size such as \"+256MiB\"")?;
            let size = text.strip_prefix('+').ok_or_else(|| {
                node.error(format!(
                    "`{text}` is not a growth; write it with a plus, such as \"+256MiB\""
                ))
            })?;
            GrowRule::By(size.parse().map_err(|e| node.error(e))?)
        }
        (None, Some(node)) => GrowRule::Free(node.parse("a size such as `1GiB`")?),
        (None, None) => return Err(node.error("the size is missing: give `root` or `free`")),
        _ => return Err(node.error("give only one of `root` and `free`")),
    };
    Ok(Op::Grow { root })
}
