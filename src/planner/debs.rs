//! Packages that a card brings along (F019): where they lie, and which names need no network any more.

use std::path::{Path, PathBuf};

use crate::plan::Edit;
use crate::spec::{At, FIRST_BOOT, Inputs, host_path};
use crate::values::DebName;

use super::PlanError;
use super::programs::carried;
use super::view::View;

/// Where the step `debs` of the first boot looks for them.
const FOLDER: &str = "/var/lib/ceil/debs";

fn parse(path: &Path) -> Option<DebName<'_>> {
    DebName::parse(path.file_name()?.to_str()?)
}

fn files<'a>(
    inputs: &'a Inputs,
    view: &'a View<'_>,
) -> impl Iterator<Item = Result<(&'a At<String>, &'a PathBuf), PlanError>> {
    view.resolved.settings.debs.iter().flat_map(|entry| {
        let place = host_path(entry);
        match inputs.debs.get(&place) {
            Some(files) => files.iter().map(|path| Ok((entry, path))).collect(),
            None => vec![Err(PlanError::not_read(&entry.origin, place.display()))],
        }
    })
}

/// The packages in their folder; what each is, is told by its name, and its processor has to be the node's.
pub(super) fn edits(inputs: &Inputs, view: &View<'_>) -> Result<Vec<Edit>, PlanError> {
    let settings = &view.resolved.settings;
    if let Some(first) = settings.debs.first()
        && settings
            .overlays
            .iter()
            .all(|overlay| overlay.value != FIRST_BOOT)
    {
        let why = format!(
            "nothing on node `{}` would install `{}`: the overlay `{FIRST_BOOT}` does, which nodes of the role `helper` \
             and those with `first-boot: false` do not have",
            view.spec.name, first.value
        );
        return Err(PlanError::unsupported(&first.origin, why));
    }
    let mut edits: Vec<Edit> = Vec::new();
    for found in files(inputs, view) {
        let (entry, path) = found?;
        let refused =
            |why: String| PlanError::unsupported(&entry.origin, format!("`{}` {why}", path.display()));
        let deb = parse(path)
            .ok_or_else(|| refused("has no name as apt gives it: NAME_VERSION_ARCH.deb".to_owned()))?;
        if let Some(arch) = &settings.arch {
            deb.fits(arch.value)
                .map_err(|e| PlanError::unsupported(&entry.origin, e))?;
        }
        edits.push(carried(inputs, FOLDER, path, &entry.origin)?);
    }
    Ok(edits)
}

/// The packages of the node that have to be fetched: those that no file on the card is.
pub(super) fn missing(inputs: &Inputs, view: &View<'_>) -> Result<Vec<String>, PlanError> {
    let there = files(inputs, view)
        .map(|found| Ok(found.map(|(_, path)| parse(path))?.map(|deb| deb.name)))
        .collect::<Result<Vec<_>, PlanError>>()?;
    // A name may have a version or a suite behind it, as apt-get(8) takes them.
    let packages = view.resolved.settings.packages.iter();
    Ok(packages
        .filter(|text| !there.contains(&text.split(['=', '/', ':']).next()))
        .cloned()
        .collect())
}
