//! Lists the built-in overlays for `src/inputs/overlays.rs`: files with their bytes, folders, and what is a program,
//! so that a downloaded binary works alone.

#![allow(
    clippy::disallowed_methods,
    reason = "cargo tells a build script its folders by the environment"
)]

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("overlays");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut out = String::from("[\n");
    walk(&root, "", &mut out)?;
    out.push_str("]\n");
    let target = Path::new(&env::var("OUT_DIR").unwrap_or_default()).join("overlays.rs");
    fs::write(target, out)
}

fn walk(dir: &Path, below: &str, out: &mut String) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", dir.display());
    let mut names: Vec<_> = fs::read_dir(dir)?
        .map(|e| Ok(e?.file_name()))
        .collect::<io::Result<_>>()?;
    names.sort();
    for name in names {
        let path = dir.join(&name);
        let name = format!("{below}{}", name.to_string_lossy());
        let meta = fs::symlink_metadata(&path)?;
        let kind = if meta.is_symlink() {
            // An archive of the sources may come without links, so none is relied on.
            return Err(io::Error::other(format!(
                "{} is a link; built-in overlays hold none",
                path.display()
            )));
        } else if meta.is_dir() {
            "BuiltIn::Dir".to_owned()
        } else {
            format!(
                "BuiltIn::File {{ bytes: include_bytes!({:?}), executable: {} }}",
                path.to_string_lossy(),
                meta.permissions().mode() & 0o100 != 0
            )
        };
        let _ = writeln!(out, "    ({name:?}, {kind}),");
        if meta.is_dir() {
            walk(&path, &format!("{name}/"), out)?;
        }
    }
    Ok(())
}
