use std::fmt;
use std::str::FromStr;

/// Processor family of programs and images, by Debian's names.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// 64-bit ARM.
    Arm64,
    /// 32-bit ARM with hardware floating point.
    Armhf,
    /// 64-bit x86.
    Amd64,
}

/// Why a text is not an [`Arch`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an architecture; write `arm64`, `armhf` or `amd64`")]
pub struct ArchError(pub String);

/// A program for another processor than the one it is meant to run on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{program}` is a program for {found}, but the image is {wanted}")]
pub struct WrongMachine {
    /// The file, as the user knows it.
    pub program: String,
    /// What its ELF header says.
    pub found: String,
    /// Of the image.
    pub wanted: Arch,
}

/// What the name of a package's file tells, as apt writes it: `NAME_VERSION_ARCH.deb` (deb(7) leaves names free; those of
/// `apt-get download` have this form).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DebName<'a> {
    /// The file's name.
    pub file: &'a str,
    /// The package.
    pub name: &'a str,
    /// Its processor, or `all`.
    pub arch: &'a str,
}

impl<'a> DebName<'a> {
    /// Reads a file's name; `None` where it has another form.
    #[must_use]
    pub fn parse(file: &'a str) -> Option<Self> {
        let mut parts = file.strip_suffix(".deb")?.split('_');
        let (name, _version, arch) = (parts.next()?, parts.next()?, parts.next()?);
        let whole = parts.next().is_none() && !name.is_empty() && !arch.is_empty();
        whole.then_some(Self { file, name, arch })
    }

    /// Whether an image of this processor can install it.
    ///
    /// # Errors
    /// [`WrongMachine`].
    pub fn fits(&self, arch: Arch) -> Result<(), WrongMachine> {
        if self.arch == "all" || self.arch == arch.word() {
            return Ok(());
        }
        Err(WrongMachine {
            program: self.file.to_owned(),
            found: self.arch.to_owned(),
            wanted: arch,
        })
    }
}

/// Bytes of a program that [`elf_machine`] and [`check_machine`] look at.
pub const ELF_HEAD: usize = 20;

impl Arch {
    /// Debian's word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::Armhf => "armhf",
            Self::Amd64 => "amd64",
        }
    }

    /// The word of the Go toolchain, which most programs for Kubernetes have in their file names.
    #[must_use]
    pub const fn go_word(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::Armhf => "arm",
            Self::Amd64 => "amd64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Arch {
    type Err = ArchError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Arm64, Self::Armhf, Self::Amd64]
            .into_iter()
            .find(|arch| arch.word() == text)
            .ok_or_else(|| ArchError(text.to_owned()))
    }
}

/// `e_machine` of an ELF file that begins with `head`, whatever its byte order (elf.h: `EI_DATA` is byte 5,
/// `e_machine` stands at 18). `None` for any other file.
fn machine_number(head: &[u8]) -> Option<u16> {
    if head.get(..4)? != b"\x7fELF" {
        return None;
    }
    let bytes = head.get(18..20)?.try_into().ok()?;
    match head[5] {
        1 => Some(u16::from_le_bytes(bytes)),
        2 => Some(u16::from_be_bytes(bytes)),
        _ => None,
    }
}

/// The processor that a program is for; `None` for files that are not ELF, such as scripts, and for processors that
/// have no image here. `head` is the first [`ELF_HEAD`] bytes, or more.
#[must_use]
pub fn elf_machine(head: &[u8]) -> Option<Arch> {
    // EM_AARCH64, EM_ARM and EM_X86_64 of elf.h.
    match machine_number(head)? {
        183 => Some(Arch::Arm64),
        40 => Some(Arch::Armhf),
        62 => Some(Arch::Amd64),
        _ => None,
    }
}

/// Compares the processor that a program is for with that of an image. Files that are not ELF pass. A 32-bit
/// program in a 64-bit image is refused: the kernel might run it, but its libraries are not there.
///
/// # Errors
/// The program is for another processor.
pub fn check_machine(program: &str, head: &[u8], wanted: Arch) -> Result<(), WrongMachine> {
    let Some(number) = machine_number(head) else {
        return Ok(());
    };
    let found = elf_machine(head);
    if found == Some(wanted) {
        return Ok(());
    }
    Err(WrongMachine {
        program: program.to_owned(),
        found: found.map_or_else(|| format!("the ELF machine {number}"), |arch| arch.to_string()),
        wanted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(order: u8, machine: [u8; 2]) -> Vec<u8> {
        let mut head = b"\x7fELF\x02\x00\x01".to_vec();
        head[5] = order;
        head.resize(18, 0);
        head.extend(machine);
        head
    }

    #[test]
    fn f011_the_machine_of_a_program_is_read() {
        assert_eq!(elf_machine(&elf(1, [183, 0])), Some(Arch::Arm64));
        assert_eq!(elf_machine(&elf(1, [40, 0])), Some(Arch::Armhf));
        assert_eq!(elf_machine(&elf(2, [0, 62])), Some(Arch::Amd64));
        assert_eq!(elf_machine(&elf(1, [3, 0])), None);
        assert_eq!(elf_machine(&elf(3, [183, 0])), None);
        assert_eq!(elf_machine(b"#!/bin/sh\necho a script\n"), None);
        assert_eq!(elf_machine(&elf(1, [183, 0])[..19]), None);
        assert_eq!(elf_machine(b""), None);
        // This test itself is a judge.
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let expected = match std::env::consts::ARCH {
            "x86_64" => Some(Arch::Amd64),
            "aarch64" => Some(Arch::Arm64),
            "arm" => Some(Arch::Armhf),
            _ => None,
        };
        if cfg!(target_os = "linux") {
            assert_eq!(elf_machine(&own), expected);
        }
    }

    #[test]
    fn f011_a_program_for_another_processor_is_refused_with_both_names() {
        let text = |head: &[u8]| check_machine("k3s", head, Arch::Arm64).map_err(|e| e.to_string());
        assert_eq!(text(&elf(1, [183, 0])), Ok(()));
        assert_eq!(text(b"#!/bin/sh\n"), Ok(()));
        assert_eq!(
            text(&elf(1, [40, 0])),
            Err("`k3s` is a program for armhf, but the image is arm64".to_owned())
        );
        assert_eq!(
            text(&elf(1, [243, 0])),
            Err("`k3s` is a program for the ELF machine 243, but the image is arm64".to_owned())
        );
    }

    #[test]
    fn words_are_read_back() {
        for arch in [Arch::Arm64, Arch::Armhf, Arch::Amd64] {
            assert_eq!(arch.word().parse(), Ok(arch));
        }
        assert!("arm".parse::<Arch>().unwrap_err().to_string().contains("`armhf`"));
    }
}
