//! Overlays and add-ons by name: from folders beside the cluster file, else compiled in.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::profiles::BUILT_IN as PROFILES;
use super::{InputError, OWNERS_FILE, Reading, hash, read_text, tree};
use crate::plan::{Content, Origin};
use crate::spec::{At, OwnerRules, Text, Tree, TreeEntry, TreeKind, list_words, nearest, parse_owners};

/// Something in a built-in overlay.
enum BuiltIn {
    Dir,
    File { bytes: &'static [u8], executable: bool },
}

/// The folder `overlays` of the sources, by path, parents before children.
static BUILT_IN: &[(&str, BuiltIn)] = &include!(concat!(env!("OUT_DIR"), "/overlays.rs"));

/// Ending of templates; the file in the image has the name without it.
const TEMPLATE: &str = ".j2";

/// Reads the overlay of this name: a folder in `overlays/` beside the cluster file, else a built-in one.
pub(super) fn read(folder: &Path, name: &At<String>, reading: Reading<'_>) -> Result<Tree, InputError> {
    let dir = folder.join("overlays").join(&name.value);
    if !plain(&name.value) {
        return Err(unknown(name, "overlay", Vec::new()));
    }
    match tree::walk(&dir, &name.origin) {
        Ok(walk) => return of_host(&dir, walk, &name.origin, reading),
        Err(InputError::Read { path, source, .. })
            if source.kind() == io::ErrorKind::NotFound && path == dir => {}
        Err(e) => return Err(e),
    }
    let prefix = format!("{}/", name.value);
    let entries: Vec<(&str, &BuiltIn)> = BUILT_IN
        .iter()
        .filter_map(|(path, entry)| Some((path.strip_prefix(&prefix)?, entry)))
        .collect();
    if entries.is_empty() {
        let known = BUILT_IN
            .iter()
            .filter(|(path, entry)| !path.contains('/') && matches!(entry, BuiltIn::Dir))
            .map(|(path, _)| *path);
        return Err(unknown(name, "overlay", known.collect()));
    }
    compiled(&name.value, &entries)
}

/// Reads the manifest of an add-on: `addons/NAME.yaml` or `addons/NAME.yaml.j2` beside the cluster file, else a
/// built-in one.
pub(super) fn read_addon(folder: &Path, name: &At<String>) -> Result<Text, InputError> {
    if !plain(&name.value) {
        return Err(unknown(name, "add-on", Vec::new()));
    }
    let files = [format!("{}.yaml", name.value), format!("{}.yaml.j2", name.value)];
    for file in &files {
        let path = folder.join("addons").join(file);
        match read_text(&path, Some(&name.origin)) {
            Ok(text) => {
                let file = path.display().to_string();
                return Ok(Text { file, text });
            }
            Err(InputError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    for file in &files {
        let found = PROFILES.get_file(format!("addons/{file}"));
        if let Some(text) = found.and_then(|f| f.contents_utf8()) {
            return Ok(Text {
                file: format!("<built-in>/addons/{file}"),
                text: text.to_owned(),
            });
        }
    }
    let known = PROFILES.get_dir("addons").into_iter().flat_map(|d| d.files());
    let known = known.filter_map(|f| f.path().file_name()?.to_str()?.split('.').next());
    Err(unknown(name, "add-on", known.collect()))
}

/// One word: neither a path nor a hidden name.
fn plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

fn unknown(name: &At<String>, kind: &'static str, mut known: Vec<&str>) -> InputError {
    known.sort_unstable();
    let hint = nearest(&name.value, known.iter().copied());
    InputError::Unknown {
        origin: name.origin.clone(),
        kind,
        name: name.value.clone(),
        advice: format!(
            "{}; built in are {}",
            hint.map_or(String::new(), |n| format!(", did you mean `{n}`?")),
            list_words(known.iter().copied()),
        ),
    }
}

fn of_host(dir: &Path, walk: tree::Walk, origin: &Origin, reading: Reading<'_>) -> Result<Tree, InputError> {
    let is_template = |entry: &tree::FoundEntry| {
        matches!(entry.kind, tree::Found::File { .. }) && entry.path.ends_with(TEMPLATE)
    };
    let files: Vec<(PathBuf, Origin)> = walk
        .entries
        .iter()
        .filter(|e| matches!(e.kind, tree::Found::File { .. }) && !is_template(e))
        .map(|e| (dir.join(&e.path), origin.clone()))
        .collect();
    let mut contents: BTreeMap<PathBuf, Content> = hash::contents(&files, reading)?.into_iter().collect();
    let mut out = Tree::default();
    if walk.has_owners {
        out.owners = owners(&dir.join(OWNERS_FILE))?;
    }
    for entry in walk.entries {
        let path = dir.join(&entry.path);
        let template = is_template(&entry);
        let kind = match entry.kind {
            tree::Found::Dir => TreeKind::Dir,
            tree::Found::Symlink(target) => TreeKind::Symlink(target),
            tree::Found::File { executable } if template => TreeKind::Template {
                source: Text {
                    text: read_text(&path, Some(origin))?,
                    file: path.display().to_string(),
                },
                executable,
            },
            tree::Found::File { executable } => TreeKind::File {
                content: contents.remove(&path).ok_or(InputError::Unfit {
                    origin: Some(origin.clone()),
                    path,
                    why: "was not hashed".to_owned(),
                })?,
                executable,
            },
        };
        out.entries.push(TreeEntry {
            path: image_name(&entry.path, template),
            kind,
        });
    }
    Ok(out)
}

fn owners(path: &Path) -> Result<OwnerRules, InputError> {
    Ok(parse_owners(
        &path.display().to_string(),
        &read_text(path, None)?,
    )?)
}

fn image_name(path: &str, template: bool) -> String {
    let end = if template { TEMPLATE } else { "" };
    path.strip_suffix(end).unwrap_or(path).to_owned()
}

fn compiled(name: &str, entries: &[(&str, &BuiltIn)]) -> Result<Tree, InputError> {
    let mut out = Tree::default();
    for (path, entry) in entries {
        let place = format!("<built-in>/overlays/{name}/{path}");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (path, kind) = match entry {
            BuiltIn::Dir => ((*path).to_owned(), TreeKind::Dir),
            BuiltIn::File { bytes, .. } if *path == OWNERS_FILE => {
                out.owners = parse_owners(&place, &text(bytes))?;
                continue;
            }
            BuiltIn::File { bytes, executable } if path.ends_with(TEMPLATE) => (
                image_name(path, true),
                TreeKind::Template {
                    source: Text {
                        file: place,
                        text: text(bytes),
                    },
                    executable: *executable,
                },
            ),
            BuiltIn::File { bytes, executable } => (
                (*path).to_owned(),
                TreeKind::File {
                    content: Content::inline(bytes),
                    executable: *executable,
                },
            ),
        };
        out.entries.push(TreeEntry { path, kind });
    }
    out.entries
        .sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
    Ok(out)
}
