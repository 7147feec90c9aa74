//! A dump as text.

use std::io::{self, Write};

use super::{Line, Section, Sink};

/// Writes lines as `start..end  kind  structure  field = value (meaning)`, offsets in hexadecimal.
#[derive(Debug)]
pub struct Text<W: Write> {
    out: W,
}

impl<W: Write> Text<W> {
    /// Text on `out`.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// The writer, for who wants to flush it.
    pub fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write> Sink for Text<W> {
    fn section(&mut self, section: &Section) -> io::Result<()> {
        match section.partition {
            Some(number) => write!(self.out, "# partition {number}: {}", section.what)?,
            None => write!(self.out, "# {}", section.what)?,
        }
        writeln!(
            self.out,
            ", bytes {:#x}..{:#x} of the image; offsets are hexadecimal and count from {:#x}, ends are exclusive",
            section.range.start, section.range.end, section.range.start
        )
    }

    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        write!(
            self.out,
            "{:08x}..{:08x}  {}  {}  {}",
            line.range.start, line.range.end, line.kind, line.structure, line.field
        )?;
        if !line.value.is_empty() {
            write!(self.out, " = {}", line.value)?;
        }
        if !line.meaning.is_empty() {
            write!(self.out, " ({})", line.meaning)?;
        }
        self.out.write_all(b"\n")
    }

    fn total(&mut self, kind: &str, bytes: u64) -> io::Result<()> {
        writeln!(self.out, "total  {kind} = {bytes}")
    }
}
