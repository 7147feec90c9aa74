//! The overlays of this project: laid out as a node gets them, and judged by the programs that read them.

mod behave;
mod first_boot;
mod judged;
mod scripts;
mod variables;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ceil_img::template::render;
use serde_json::Value;

/// Where the overlays are.
fn overlays() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("overlays")
}

/// Every file below a folder, sorted.
fn walk(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A node's root with some overlays over it.
struct Laid {
    dir: tempfile::TempDir,
}

impl Laid {
    /// Lays out overlays as the planner does: templates rendered, empty results left out. Two overlays may bring the
    /// same file only if it is the same.
    fn out(names: &[&str], variables: &Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            let tree = overlays().join(name);
            for path in walk(&tree) {
                let below = path.strip_prefix(&tree).unwrap();
                if below == Path::new(".ceil-owners") {
                    continue;
                }
                let to = dir.path().join(below);
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                let source = fs::read_to_string(&path).unwrap();
                let (to, text) = if path.extension().is_some_and(|e| e == "j2") {
                    let shown = format!("{name}/{}", below.display());
                    let text = render(&shown, &source, variables).unwrap_or_else(|e| panic!("{e}"));
                    (to.with_extension(""), text)
                } else {
                    (to, source)
                };
                if text.trim().is_empty() {
                    continue;
                }
                assert!(
                    text.ends_with('\n') && !text.ends_with("\n\n"),
                    "{}: how it ends",
                    to.display()
                );
                for (number, line) in text.lines().enumerate() {
                    let shown = format!("{}:{}: `{line}`", to.display(), number + 1);
                    assert!(!line.contains("{{") && !line.contains("{%"), "{shown}");
                    assert!(
                        !line.split([' ', '=', ',', '"', ':']).any(|w| w == "none"),
                        "{shown}"
                    );
                }
                if to.exists() {
                    assert_eq!(fs::read_to_string(&to).unwrap(), text, "{}", to.display());
                }
                fs::write(&to, text).unwrap();
                let mode = fs::metadata(&path).unwrap().permissions().mode();
                fs::set_permissions(&to, fs::Permissions::from_mode(mode)).unwrap();
            }
        }
        Self { dir }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn has(&self, below: &str) -> bool {
        self.path(below).exists()
    }

    fn text(&self, below: &str) -> String {
        let path = self.path(below);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// The lines of a file that begin with this word.
    fn lines(&self, below: &str, start: &str) -> Vec<String> {
        let text = self.text(below);
        text.lines()
            .filter(|l| l.starts_with(start))
            .map(str::to_owned)
            .collect()
    }

    /// The firewall with its includes taken from here.
    fn firewall(&self) -> PathBuf {
        let here = self.path("etc/ceil/firewall.d/");
        let text = self.text("etc/ceil/firewall.nft");
        let path = self.path("firewall-here.nft");
        fs::write(
            &path,
            text.replace("/etc/ceil/firewall.d/", here.to_str().unwrap()),
        )
        .unwrap();
        path
    }
}
