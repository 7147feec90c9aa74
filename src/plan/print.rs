use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::values::{ByteSize, shown_url};

use super::{Address, Attributes, BasePlace, Content, Edit, GrowRule, NodePlan, Op, Program, Xattr};

impl Op {
    /// The word for this kind of edit, as the edits file has it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Put { .. } => "put",
            Self::Dir { .. } => "dir",
            Self::Symlink { .. } => "symlink",
            Self::Hardlink { .. } => "hardlink",
            Self::Rename { .. } => "rename",
            Self::Append { .. } => "append",
            Self::Remove { .. } => "remove",
            Self::Chmod { .. } => "chmod",
            Self::Chown { .. } => "chown",
            Self::Mtime { .. } => "mtime",
            Self::Xattrs { .. } => "xattr",
            Self::KernelArgs { .. } => "kernel-args",
            Self::ConfigTxt { .. } => "config-txt",
            Self::Fstab { .. } => "fstab",
            Self::Grow { .. } => "grow",
        }
    }
}

/// One edit as JSON: what and where, sizes and digests, and who asked for it. Never the bytes.
#[must_use]
pub fn edit_json(edit: &Edit) -> Value {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| {
        out.insert(key.to_owned(), value);
    };
    put("op", edit.op.word().into());
    match &edit.op {
        Op::Put {
            at,
            content,
            attributes,
            xattrs,
            sparse,
        } => {
            put("at", json!(at));
            content_json(content, &mut put);
            attributes_json(attributes, &mut put);
            if !xattrs.is_empty() {
                put("xattrs", xattrs_json(xattrs));
            }
            if *sparse {
                put("sparse", true.into());
            }
        }
        Op::Dir { at, attributes } => {
            put("at", json!(at));
            attributes_json(attributes, &mut put);
        }
        Op::Symlink { at, to, attributes } => {
            put("at", json!(at));
            put("to", json!(to));
            attributes_json(attributes, &mut put);
        }
        Op::Hardlink { at, to } => {
            put("at", json!(at));
            put("to", json!(to));
        }
        Op::Rename { from, to } => {
            put("at", json!(from));
            put("to", json!(to));
        }
        Op::Append { at, content } => {
            put("at", json!(at));
            content_json(content, &mut put);
        }
        Op::Remove {
            at,
            recursive,
            if_exists,
        } => {
            put("at", json!(at));
            put("recursive", json!(recursive));
            put("if_exists", json!(if_exists));
        }
        Op::Chmod { at, mode } => {
            put("at", json!(at));
            put("mode", mode.to_string().into());
        }
        Op::Chown { at, owner } => {
            put("at", json!(at));
            put("owner", owner.to_string().into());
        }
        Op::Mtime { at, mtime } => {
            put("at", json!(at));
            put("mtime", json!([mtime.secs, mtime.nanos]));
        }
        Op::Xattrs { at, xattrs } => {
            put("at", json!(at));
            put("xattrs", xattrs_json(xattrs));
        }
        Op::KernelArgs { add, remove } => {
            put("add", json!(add));
            put("remove", json!(remove));
        }
        Op::ConfigTxt { section, set, unset } => {
            put("section", json!(section));
            put("set", json!(set));
            put("unset", json!(unset));
        }
        Op::Fstab { mount, line } => {
            put("mount", json!(mount));
            put("line", json!(line));
        }
        Op::Grow { root } => match root {
            GrowRule::By(size) => put("by", json!(size.0)),
            GrowRule::Free(size) => put("free", json!(size.0)),
        },
    }
    put("source", edit.origin.to_string().into());
    Value::Object(out)
}

fn content_json(content: &Content, put: &mut impl FnMut(&str, Value)) {
    if content.is_secret() {
        put("secret", true.into());
        return;
    }
    put("size", content.len().into());
    put("digest", json!(content.digest()));
    if let Content::File { path, .. } = content {
        put("from", path.display().to_string().into());
    }
}

fn attributes_json(attributes: &Attributes, put: &mut impl FnMut(&str, Value)) {
    if let Some(mode) = attributes.mode {
        put("mode", mode.to_string().into());
    }
    if let Some(owner) = attributes.owner {
        put("owner", owner.to_string().into());
    }
    if let Some(mtime) = attributes.mtime {
        put("mtime", json!([mtime.secs, mtime.nanos]));
    }
}

fn xattrs_json(xattrs: &[Xattr]) -> Value {
    xattrs
        .iter()
        .map(|x| json!({"name": x.name, "size": x.value.as_ref().map(Vec::len)}))
        .collect()
}

fn program_json(program: &Program) -> Value {
    json!({
        "name": program.name,
        "version": program.version,
        "arch": program.arch,
        "url": shown_url(&program.url),
        "sha256": program.sha256,
        "size": program.size,
        "to": program.to,
        "source": program.origin.to_string(),
    })
}

impl NodePlan {
    /// The plan as one JSON object. `edits` are those of the plan, or with the base's own once it is known;
    /// `notes` are the sentences that came with them.
    #[must_use]
    pub fn to_json(&self, edits: &[Edit], notes: &[String]) -> Value {
        let (kind, place) = match &self.base.place {
            BasePlace::Name(name) => ("name", name.clone()),
            BasePlace::Url(url) => ("url", shown_url(url)),
            BasePlace::Path(path) => ("path", path.display().to_string()),
        };
        let address = match &self.identity.address {
            Address::Dhcp => json!("dhcp"),
            Address::Static(fixed) => json!({
                "cidr": self.identity.address.to_string(),
                "interface": fixed.interface,
                "gateway": fixed.gateway,
                "dns": fixed.dns,
            }),
        };
        json!({
            "cluster": self.cluster,
            "node": self.node,
            "hostname": self.identity.hostname.as_str(),
            "instance_id": self.identity.instance_id,
            "address": address,
            "profile": self.profile,
            "base": {
                kind: place,
                "sha256": self.base.sha256,
                "sha512": self.base.sha512,
                "raw_sha256": self.base.raw_sha256,
                "source": self.base.origin.to_string(),
            },
            "role": self.role,
            "programs": self.programs.iter().map(program_json).collect::<Vec<_>>(),
            "epoch": self.epoch.secs,
            "reserve": self.reserve.0,
            "output": self.output.to_string(),
            "digest": self.digest,
            "payload_bytes": payload_bytes(edits),
            "edits": edits.iter().map(edit_json).collect::<Vec<_>>(),
            "notes": notes,
        })
    }

    /// The plan for people: a head, then one line for every edit with mode, owner, size, digest and source.
    #[must_use]
    pub fn to_table(&self, edits: &[Edit], notes: &[String]) -> String {
        let mut rows: Vec<[String; 7]> =
            vec![["edit", "where", "mode", "owner", "size", "sha256", "asked for by"].map(str::to_owned)];
        rows.extend(edits.iter().map(row));
        let mut widths = [0; 7];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut out = format!(
            "node {} of {}\n  host name  {}\n  address    {}\n  profile    {}\n  base       {}\n  epoch      {}\n  reserve    {}\n  output     {}\n  payload    {} in {} edits\n  digest     {}\n",
            self.node,
            self.cluster,
            self.identity.hostname,
            self.identity.address,
            self.profile,
            self.base.place,
            self.epoch.secs,
            self.reserve,
            self.output,
            ByteSize(payload_bytes(edits)),
            edits.len(),
            self.digest,
        );
        for program in &self.programs {
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "  program    {} {} {} to {} ({})",
                program.name,
                program.version,
                program.arch,
                program.to.join(" and "),
                program.origin,
            );
        }
        out.push('\n');
        for row in &rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                // Writing to a String cannot fail.
                let _ = write!(line, "{cell:width$}  ");
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        if rows.iter().any(|row| row[2] == "keep" || row[3] == "keep") {
            out.push_str("\nnote: `keep` is what a file that is there has; a new file gets 0644, a new directory 0755, and 0:0");
        }
        for note in notes {
            let _ = write!(out, "\nnote: {note}");
        }
        out.push('\n');
        out
    }
}

fn payload_bytes(edits: &[Edit]) -> u64 {
    edits
        .iter()
        .map(|edit| match &edit.op {
            Op::Put { content, .. } | Op::Append { content, .. } => content.len(),
            _ => 0,
        })
        .fold(0, u64::saturating_add)
}

fn row(edit: &Edit) -> [String; 7] {
    let mut cells: [String; 7] = Default::default();
    cells[0] = edit.op.word().to_owned();
    cells[6] = edit.origin.to_string();
    let mut attributes = Attributes::default();
    let mut bytes = None;
    cells[1] = match &edit.op {
        Op::Put {
            at,
            content,
            attributes: given,
            ..
        } => {
            attributes = given.clone();
            bytes = Some(content);
            at.to_string()
        }
        Op::Dir {
            at,
            attributes: given,
        } => {
            attributes = given.clone();
            at.to_string()
        }
        Op::Symlink {
            at,
            to,
            attributes: given,
        } => {
            attributes = given.clone();
            format!("{at} -> {to}")
        }
        Op::Hardlink { at, to } => format!("{at} = {to}"),
        Op::Rename { from, to } => format!("{from} => {to}"),
        Op::Append { at, content } => {
            bytes = Some(content);
            at.to_string()
        }
        Op::Remove { at, recursive, .. } => format!("{at}{}", if *recursive { " and below" } else { "" }),
        Op::Chmod { at, mode } => {
            attributes.mode = Some(*mode);
            at.to_string()
        }
        Op::Chown { at, owner } => {
            attributes.owner = Some(*owner);
            at.to_string()
        }
        Op::Mtime { at, mtime } => format!("{at} @{}", mtime.secs),
        Op::Xattrs { at, xattrs } => {
            let names: Vec<&str> = xattrs.iter().map(|x| x.name.as_str()).collect();
            format!("{at} {}", names.join(" "))
        }
        Op::KernelArgs { add, remove } => words(add.iter().map(String::as_str), remove),
        Op::ConfigTxt { section, set, unset } => {
            let set: Vec<String> = set.iter().map(|(k, v)| format!("{k}={v}")).collect();
            format!("[{section}] {}", words(set.iter().map(String::as_str), unset))
        }
        Op::Fstab { mount, line } => line.clone().unwrap_or_else(|| format!("-{mount}")),
        Op::Grow { root } => match root {
            GrowRule::By(size) => format!("root by {size}"),
            GrowRule::Free(size) => format!("root until {size} are free"),
        },
    };
    // What is not given stays as it is in the image.
    let makes = matches!(edit.op, Op::Put { .. } | Op::Dir { .. });
    let unsaid = || if makes { "keep".to_owned() } else { String::new() };
    cells[2] = attributes.mode.map_or_else(unsaid, |m| m.to_string());
    cells[3] = attributes.owner.map_or_else(unsaid, |o| o.to_string());
    if let Some(content) = bytes {
        cells[4] = content.len().to_string();
        cells[5] = if content.is_secret() {
            "(secret)".to_owned()
        } else {
            content.digest().hex()
        };
    }
    cells
}

/// `+a +b -c`.
fn words<'a>(add: impl Iterator<Item = &'a str>, remove: &[String]) -> String {
    add.map(|w| format!("+{w}"))
        .chain(remove.iter().map(|w| format!("-{w}")))
        .collect::<Vec<_>>()
        .join(" ")
}
