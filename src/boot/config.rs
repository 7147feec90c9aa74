//! `config.txt` as the firmware of one board reads it.

use std::collections::BTreeMap;

/// What holds on one board.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    settings: BTreeMap<String, String>,
    /// The name after `initramfs`, which is a line without `=`.
    pub initramfs: Option<String>,
}

/// The sections besides `all` that count on a board, by its word in the cluster file.
fn sections(board: &str) -> &'static [&'static str] {
    match board {
        "pi1b+" => &["pi1"],
        "pizero" => &["pi0"],
        "pizerow" => &["pi0", "pi0w"],
        "pizero2w" => &["pi0", "pi0w", "pi02"],
        "pi2b" | "pi2b-1.2" => &["pi2"],
        "pi3b" => &["pi3"],
        "pi3a+" | "pi3b+" => &["pi3", "pi3+"],
        "cm3" => &["pi3", "cm3"],
        "pi400" => &["pi4", "pi400"],
        "cm4" => &["pi4", "cm4"],
        "pi5" => &["pi5"],
        "pi500" => &["pi5", "pi500"],
        "cm5" => &["pi5", "cm5"],
        // An emulated machine is taken for the board that it is nearest to.
        _ => &["pi4"],
    }
}

/// Whether the firmware of a board starts a 64-bit kernel when nothing is said.
pub(super) fn wide_by_default(board: &str) -> bool {
    sections(board).iter().any(|s| ["pi4", "pi5"].contains(s))
}

/// Whether a word between brackets names a model; sections of the other kinds (a display, a pin, a serial number)
/// add a condition to the model's.
fn is_model(word: &str) -> bool {
    word.starts_with("pi") || word.starts_with("cm")
}

impl Config {
    /// Reads the file and what it includes; `include` gives the text of a file of the boot volume.
    pub fn read(text: &str, board: &str, include: &mut dyn FnMut(&str) -> Option<String>) -> Self {
        let mut config = Self::default();
        config.add(text, board, include, 0);
        config
    }

    fn add(&mut self, text: &str, board: &str, include: &mut dyn FnMut(&str) -> Option<String>, depth: u32) {
        let (mut model, mut others) = (true, true);
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some((word, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                let word = word.trim().to_ascii_lowercase();
                match word.as_str() {
                    "all" => (model, others) = (true, true),
                    "none" => model = false,
                    _ if is_model(&word) => model = sections(board).contains(&word.as_str()),
                    // No display, no pin, no serial number of the emulated machine is the one that is meant.
                    _ => others = false,
                }
                continue;
            }
            if !model || !others {
                continue;
            }
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("initramfs"), Some(name)) => self.initramfs = Some(name.to_owned()),
                // The firmware follows includes three levels deep.
                (Some("include"), Some(name)) if depth < 3 => {
                    if let Some(text) = include(name) {
                        self.add(&text, board, include, depth + 1);
                    }
                }
                _ => {
                    if let Some((key, value)) = line.split_once('=') {
                        let value = value.trim().to_owned();
                        self.settings.insert(key.trim().to_owned(), value);
                    }
                }
            }
        }
    }

    /// The value that counts.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(String::as_str)
    }

    /// A number, 0 when it is none.
    pub fn number(&self, key: &str) -> Option<i64> {
        self.get(key).map(|value| value.parse().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, board: &str) -> Config {
        Config::read(text, board, &mut |name| {
            (name == "extra.txt").then(|| "kernel=extra\n[pi5]\nkernel=five\n".to_owned())
        })
    }

    #[test]
    fn sections_count_on_their_boards() {
        let text = "kernel=a\n[pi4]\nkernel=b\n[pi3+]\nkernel=c\n[none]\nkernel=d\n[all]\nos_prefix=x/\r\n";
        for (board, kernel) in [
            ("pi4b", "b"),
            ("virt", "b"),
            ("pi3b+", "c"),
            ("pi3b", "a"),
            ("cm4", "b"),
        ] {
            assert_eq!(read(text, board).get("kernel"), Some(kernel), "{board}");
            assert_eq!(read(text, board).get("os_prefix"), Some("x/"), "{board}");
        }
    }

    #[test]
    fn other_sections_narrow_a_model() {
        let text =
            "[pi4]\n[EDID=VSC-TD2220]\nkernel=b\n[pi4]\nkernel=c\n[all]\nkernel=d\n[0x1234]\nkernel=e\n";
        assert_eq!(read(text, "pi4b").get("kernel"), Some("d"));
        assert_eq!(
            read("[EDID=X]\nkernel=b\n[pi4]\nkernel=c\n", "pi4b").get("kernel"),
            None
        );
    }

    #[test]
    fn the_initramfs_has_no_equals_sign() {
        let config = read(
            "initramfs one\ninitramfs two followkernel\n#initramfs three\n",
            "pi4b",
        );
        assert_eq!(config.initramfs.as_deref(), Some("two"));
    }

    #[test]
    fn includes_are_followed_with_sections_of_their_own() {
        let config = read("[pi4]\ninclude extra.txt\ninclude missing.txt\n", "pi4b");
        assert_eq!(config.get("kernel"), Some("extra"));
        assert_eq!(config.number("kernel"), Some(0));
    }
}
