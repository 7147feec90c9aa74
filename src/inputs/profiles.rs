//! Profiles: from the cluster's folders, else compiled in.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use include_dir::{Dir, include_dir};

use super::{InputError, read_text};
use crate::plan::Origin;
use crate::spec::{ClusterSpec, Profile, list_words, nearest, parse_profile};

/// The folder `profiles` of the sources: node profiles at its top.
pub(super) static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/profiles");

/// Catalogs that stand beside the profiles.
const NO_PROFILES: [&str; 2] = ["images.yaml", "artifacts.yaml"];

/// Name and text of every profile that is compiled in, sorted by name.
fn built_in() -> impl Iterator<Item = (&'static str, &'static str)> {
    BUILT_IN.files().filter_map(|file| {
        let name = file.path().to_str()?;
        if NO_PROFILES.contains(&name) {
            return None;
        }
        Some((name.strip_suffix(".yaml")?, file.contents_utf8()?))
    })
}

fn built_in_file(name: &str) -> String {
    format!("<built-in>/{name}.yaml")
}

/// Reads a profile and all that it rests on.
pub(super) fn read(
    cluster: &ClusterSpec,
    name: &str,
    origin: &Origin,
    into: &mut BTreeMap<String, Profile>,
) -> Result<(), InputError> {
    let mut pending = vec![(name.to_owned(), origin.clone())];
    while let Some((name, origin)) = pending.pop() {
        if into.contains_key(&name) {
            continue;
        }
        let profile = one(cluster, &name, &origin)?;
        for below in profile.extends.iter().chain(&profile.mixins) {
            pending.push((below.value.clone(), below.origin.clone()));
        }
        into.insert(name, profile);
    }
    Ok(())
}

fn one(cluster: &ClusterSpec, name: &str, origin: &Origin) -> Result<Profile, InputError> {
    for dir in &cluster.profiles {
        let path = dir.join(format!("{name}.yaml"));
        match read_text(&path, Some(origin)) {
            Ok(text) => return Ok(parse_profile(&path.display().to_string(), &text)?),
            Err(InputError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    if let Some((_, text)) = built_in().find(|(n, _)| *n == name) {
        return Ok(parse_profile(&built_in_file(name), text)?);
    }
    let known = profile_names(cluster)?;
    let hint = nearest(name, known.keys().map(String::as_str));
    let searched: String = cluster
        .profiles
        .iter()
        .map(|d| format!("`{}`, ", d.display()))
        .collect();
    Err(InputError::NoProfile {
        origin: origin.clone(),
        name: name.to_owned(),
        advice: format!(
            "{}; the profiles are {} (searched: {searched}built-in)",
            hint.map_or(String::new(), |n| format!(", did you mean `{n}`?")),
            list_words(known.keys().map(String::as_str)),
        ),
    })
}

/// The names of all profiles that a cluster can use, sorted, each with the file it is from.
///
/// # Errors
/// [`InputError::Read`] when a folder is there but cannot be listed.
pub fn profile_names(cluster: &ClusterSpec) -> Result<BTreeMap<String, String>, InputError> {
    let mut names = BTreeMap::new();
    for dir in &cluster.profiles {
        let error = |source| InputError::Read {
            origin: None,
            path: dir.clone(),
            source,
        };
        let listing = match fs::read_dir(dir) {
            Ok(listing) => listing,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(error(e)),
        };
        for entry in listing {
            let entry = entry.map_err(error)?;
            let name = entry.file_name();
            if let Some(name) = name.to_str().and_then(|n| n.strip_suffix(".yaml")) {
                names
                    .entry(name.to_owned())
                    .or_insert_with(|| entry.path().display().to_string());
            }
        }
    }
    for (name, _) in built_in() {
        names
            .entry(name.to_owned())
            .or_insert_with(|| built_in_file(name));
    }
    Ok(names)
}

/// All profiles that a cluster can use, with everything that they rest on.
///
/// # Errors
/// The first that cannot be read or is wrong.
pub fn all_profiles(cluster: &ClusterSpec) -> Result<BTreeMap<String, Profile>, InputError> {
    let mut all = BTreeMap::new();
    for (name, file) in profile_names(cluster)? {
        read(cluster, &name, &Origin { file, line: 0 }, &mut all)?;
    }
    Ok(all)
}
