//! `edit`: an edit list on any image.

use serde_json::json;

use super::args;
use super::build::{changes, finish, write};
use super::context::{Base, Context};
use super::memo::Memo;
use super::message::{self, Failure, Outcome};
use crate::emit::by_name;
use crate::inputs::{self, Reading};
use crate::plan::OutputFormat;
use crate::planner;
use crate::spec::ClusterSpec;

/// `ceil-img edit`
pub fn edit(context: &Context, args: &args::Edit) -> Result<Outcome, Failure> {
    let memo = Memo::open(&context.cache);
    let read = inputs::read_edits(
        &args.edits,
        Reading {
            memo: &memo,
            reporter: &*context.reporter,
        },
    );
    memo.save();
    let (specs, inputs) = read?;
    let epoch = context.source_date_epoch()?.unwrap_or(ClusterSpec::EPOCH);
    let edits = planner::plan_edits(&specs, &inputs, &json!({"epoch": epoch.secs}))?;
    let target = args.out.as_deref().unwrap_or(&args.image);
    let format = by_name(&target.to_string_lossy());
    let (source, packed) = context.image_source(&args.image)?;
    if args.in_place && (packed || format != OutputFormat::Img) {
        return Err(Failure::new(format!(
            "`{}` is compressed and cannot be edited in place",
            target.display()
        ))
        .hint("write the result to another file with `--out`"));
    }
    let base = Base::as_it_is(source, args.image.display().to_string());
    let subject = target.display().to_string();
    let finished = finish(context, &base, &subject, args.reserve.0, epoch, |_, _| Ok(edits))?;
    let (output, emitted) = write(context, &finished, format, target)?;
    output.finish()?;
    if context.json {
        message::json(&json!({
            "event": "edited", "image": subject, "file_digest": emitted.file_digest,
            "changes": changes(&finished.image, &finished.applied)?,
        }))?;
    } else {
        message::line(&format!("{}  {subject}", emitted.file_digest.hex()))?;
    }
    Ok(Outcome::Done)
}
