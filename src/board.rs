//! Boards: what each model can run, for checks before anything is built.
//!
//! This room knows models. It must not know images, plans or the network.

use std::fmt;
use std::str::FromStr;

/// Word size that a board's processor runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cpu {
    /// ARMv6: Raspberry Pi OS armhf alone, no Kubernetes.
    Armv6,
    /// ARMv7: armhf.
    Armv7,
    /// ARMv8: arm64 and armhf.
    Armv8,
    /// x86-64.
    Amd64,
}

/// A model.
#[derive(Debug, PartialEq, Eq)]
pub struct Model {
    /// The word for it, such as `pi3b+`.
    pub name: &'static str,
    /// Its name in full.
    pub title: &'static str,
    /// Processor.
    pub cpu: Cpu,
    /// Sizes of memory it was sold with, in MiB.
    pub memory: &'static [u32],
    /// Whether it has WiFi.
    pub wifi: bool,
    /// Whether it has a wired interface.
    pub ethernet: bool,
    /// Whether its one-time USB boot bit is of use: it boots from USB only once the bit is set (F024).
    pub usb_boot_bit: bool,
}

const fn model(
    name: &'static str,
    title: &'static str,
    cpu: Cpu,
    memory: &'static [u32],
    (wifi, ethernet, usb_boot_bit): (bool, bool, bool),
) -> Model {
    Model {
        name,
        title,
        cpu,
        memory,
        wifi,
        ethernet,
        usb_boot_bit,
    }
}

/// All models. Memory and processors: the product briefs of Raspberry Pi Ltd.
pub const MODELS: &[Model] = &[
    model(
        "pi1b+",
        "Raspberry Pi 1 Model B+",
        Cpu::Armv6,
        &[512],
        (false, true, false),
    ),
    model(
        "pizero",
        "Raspberry Pi Zero",
        Cpu::Armv6,
        &[512],
        (false, false, false),
    ),
    model(
        "pizerow",
        "Raspberry Pi Zero W",
        Cpu::Armv6,
        &[512],
        (true, false, false),
    ),
    model(
        "pi2b",
        "Raspberry Pi 2 Model B",
        Cpu::Armv7,
        &[1024],
        (false, true, false),
    ),
    model(
        "pi2b-1.2",
        "Raspberry Pi 2 Model B v1.2",
        Cpu::Armv8,
        &[1024],
        (false, true, true),
    ),
    model(
        "pi3a+",
        "Raspberry Pi 3 Model A+",
        Cpu::Armv8,
        &[512],
        (true, false, true),
    ),
    model(
        "pi3b",
        "Raspberry Pi 3 Model B",
        Cpu::Armv8,
        &[1024],
        (true, true, true),
    ),
    model(
        "pi3b+",
        "Raspberry Pi 3 Model B+",
        Cpu::Armv8,
        &[1024],
        (true, true, false),
    ),
    model(
        "cm3",
        "Compute Module 3",
        Cpu::Armv8,
        &[1024],
        (false, false, true),
    ),
    model(
        "pizero2w",
        "Raspberry Pi Zero 2 W",
        Cpu::Armv8,
        &[512],
        (true, false, false),
    ),
    model(
        "pi4b",
        "Raspberry Pi 4 Model B",
        Cpu::Armv8,
        &[1024, 2048, 4096, 8192],
        (true, true, false),
    ),
    model(
        "pi400",
        "Raspberry Pi 400",
        Cpu::Armv8,
        &[4096],
        (true, true, false),
    ),
    model(
        "cm4",
        "Compute Module 4",
        Cpu::Armv8,
        &[1024, 2048, 4096, 8192],
        (true, true, false),
    ),
    model(
        "pi5",
        "Raspberry Pi 5",
        Cpu::Armv8,
        &[1024, 2048, 4096, 8192, 16384],
        (true, true, false),
    ),
    model(
        "pi500",
        "Raspberry Pi 500",
        Cpu::Armv8,
        &[8192],
        (true, true, false),
    ),
    model(
        "cm5",
        "Compute Module 5",
        Cpu::Armv8,
        &[2048, 4096, 8192, 16384],
        (true, true, false),
    ),
    model(
        "up",
        "UP board",
        Cpu::Amd64,
        &[1024, 2048, 4096],
        (false, true, false),
    ),
    model(
        "virt",
        "emulated machine",
        Cpu::Armv8,
        &[512, 1024, 2048, 4096, 8192],
        (false, true, false),
    ),
];

/// A model, and its memory where that was said: `pi4b`, `pi4b:8GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Board {
    /// The model.
    pub model: &'static Model,
    /// Memory in MiB, where it was said.
    pub stated: Option<u32>,
}

/// Why a text names no board.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BoardError(String);

impl Board {
    /// Memory in MiB: what was said, else the smallest size of the model.
    #[must_use]
    pub fn memory(&self) -> u32 {
        self.stated
            .or_else(|| self.model.memory.iter().copied().min())
            .unwrap_or(0)
    }

    /// Whether the model was ever sold with the memory that was said (P59).
    #[must_use]
    pub fn exists(&self) -> bool {
        self.stated.is_none_or(|mib| self.model.memory.contains(&mib))
    }
}

impl fmt::Display for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.model.name)?;
        match self.stated {
            Some(mib) if mib % 1024 == 0 => write!(f, ":{}GiB", mib / 1024),
            Some(mib) => write!(f, ":{mib}MiB"),
            None => Ok(()),
        }
    }
}

impl FromStr for Board {
    type Err = BoardError;

    fn from_str(text: &str) -> Result<Self, BoardError> {
        let (name, memory) = match text.split_once(':') {
            Some((name, memory)) => (name, Some(memory)),
            None => (text, None),
        };
        let known = || {
            MODELS
                .iter()
                .map(|m| format!("`{}`", m.name))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let model = MODELS
            .iter()
            .find(|m| m.name == name)
            .ok_or_else(|| BoardError(format!("`{name}` is no board; the boards are {}", known())))?;
        let stated = memory
            .map(|memory| {
                let size: crate::values::ByteSize = memory.parse().map_err(|_| {
                    BoardError(format!(
                        "`{memory}` is no size of memory; write it as `pi4b:8GiB`"
                    ))
                })?;
                u32::try_from(size.0 >> 20)
                    .map_err(|_| BoardError(format!("`{memory}` is more than any board has")))
            })
            .transpose()?;
        Ok(Self { model, stated })
    }
}

impl<'de> serde::Deserialize<'de> for Board {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Board {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Board".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names: Vec<&str> = MODELS.iter().map(|m| m.name).collect();
        schemars::json_schema!({
            "type": "string",
            "description": "a board, with its memory where that matters: `pi4b`, `pi4b:8GiB`",
            "anyOf": [{"enum": names}, {"pattern": "^[a-z0-9+.-]+:[0-9]+(MiB|GiB)$"}]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p59_names_sizes_and_what_never_was() {
        let board: Board = "pi2b:2GiB".parse().expect("board");
        assert!(!board.exists());
        assert_eq!((board.memory(), board.to_string().as_str()), (2048, "pi2b:2GiB"));
        let plain: Board = "pi4b".parse().expect("board");
        assert_eq!((plain.memory(), plain.exists()), (1024, true));
        assert!(
            "pi9"
                .parse::<Board>()
                .is_err_and(|e| e.to_string().contains("`pi4b`"))
        );
    }
}
