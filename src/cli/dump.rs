//! `ceil-img inspect --dump`: every byte of an image as a line of text or as a JSON object.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use serde_json::{Value, json};

use super::args;
use super::context::Context;
use super::message::{Failure, Outcome};
use crate::disk::dump::{Line, Section, Sink, Text};
use crate::disk::{BlockIo, Overlay};
use crate::dump;

/// Writes each line as one object; offsets are those of the section that began last.
struct Json<W: Write> {
    out: W,
    partition: Option<u32>,
}

impl<W: Write> Json<W> {
    fn put(&mut self, value: &Value) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, value)?;
        self.out.write_all(b"\n")
    }
}

impl<W: Write> Sink for Json<W> {
    fn section(&mut self, section: &Section) -> io::Result<()> {
        self.partition = section.partition;
        self.put(&json!({
            "event": "section", "partition": section.partition, "what": section.what,
            "start": section.range.start, "end": section.range.end,
        }))
    }

    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        self.put(&json!({
            "event": "bytes", "partition": self.partition, "start": line.range.start, "end": line.range.end,
            "kind": line.kind, "structure": line.structure, "field": line.field, "value": line.value,
            "meaning": line.meaning,
        }))
    }

    fn total(&mut self, kind: &str, bytes: u64) -> io::Result<()> {
        let partition = self.partition;
        self.put(&json!({"event": "total", "partition": partition, "kind": kind, "bytes": bytes}))
    }
}

/// Dumps an image, which may be damaged.
///
/// # Errors
/// It cannot be read, or has no partition of the wanted number.
pub fn dump(context: &Context, args: &args::Inspect) -> Result<Outcome, Failure> {
    let what = |error: Failure| error.while_doing(format!("cannot dump `{}`", args.image.display()));
    let (source, _) = context.image_source(&args.image).map_err(what)?;
    let io: Arc<dyn BlockIo> = Arc::new(Overlay::new(source));
    let out = BufWriter::new(io::stdout().lock());
    let done = if context.json {
        let mut sink = Json { out, partition: None };
        dump::dump(&io, args.partition, &mut sink).and_then(|()| sink.out.flush())
    } else {
        let mut sink = Text::new(out);
        dump::dump(&io, args.partition, &mut sink).and_then(|()| sink.into_inner().flush())
    };
    done.map_err(|error| what(Failure::from(error)))?;
    Ok(Outcome::Done)
}
