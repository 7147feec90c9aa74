//! The card as an object: which node is on it, whether it has booted, and an image of it.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::args;
use super::context::Context;
use super::message::{self, Failure, Outcome};
use crate::base_os::CARD_RECORD;
use crate::bmap::BLOCK;
use crate::disk::{BlockIo, Overlay, Source, TableKind};
use crate::emit::{Output, Request, by_name, emit};
use crate::fs::tree::read_small;
use crate::image::Image;
use crate::sys::disks::{self, ThisHost};
use crate::sys::{Device, Opened};
use crate::values::VolumeName;

/// What the boot volume says of the image on a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the node.
    pub node: String,
    /// Digest of the plan.
    pub plan: String,
    /// The program that made it.
    pub tool: String,
    /// Digest of the plan that the root volume is of, where the boot volume was reconfigured alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_plan: Option<String>,
}

/// What is on a card.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OnCard {
    /// Which node it is; none for images of other makers.
    pub record: Option<Record>,
    /// Whether a system has run from it; unknown without a root volume.
    pub booted: Option<bool>,
    /// Whether the first boot has come to its end.
    pub ready: bool,
    /// The instance id under which cloud-init ran last.
    pub instance_id: Option<String>,
}

/// Longest text of these files.
const SMALL: u64 = 64 << 10;

/// Looks at an image or a card.
pub fn on_card(image: &Image) -> OnCard {
    let text = |name: VolumeName, path: &str| -> Option<String> {
        let bytes = read_small(image.volume(name).ok()?, path.as_bytes(), SMALL).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    let record = text(VolumeName::Boot, CARD_RECORD).and_then(|text| serde_json::from_str(&text).ok());
    // The first boot gives the machine its id; images have none, or a word in its place.
    let id = text(VolumeName::Root, "/etc/machine-id");
    let is_id = |id: &String| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    let instance_id = text(VolumeName::Root, "/var/lib/cloud/data/instance-id");
    let exists = |path: &str| {
        image
            .volume(VolumeName::Root)
            .is_ok_and(|root| matches!(root.stat(path.as_bytes()), Ok(Some(_))))
    };
    OnCard {
        record,
        booted: image
            .volume(VolumeName::Root)
            .ok()
            .map(|_| id.as_ref().is_some_and(is_id) || instance_id.is_some()),
        ready: exists("/var/lib/ceil/ready"),
        instance_id,
    }
}

impl OnCard {
    /// The same in one sentence; none when nothing is known.
    pub fn sentence(&self) -> Option<String> {
        let record = self.record.as_ref()?;
        let short: String = record.plan.chars().take(19).collect();
        let booted = match (self.booted, self.ready) {
            (_, true) => ", assembled",
            (Some(true), _) => ", has booted",
            (Some(false), _) => ", has not booted",
            (None, _) => "",
        };
        Some(format!(
            "node `{}` of cluster `{}`, plan {short}, {}{booted}",
            record.node, record.cluster, record.tool
        ))
    }
}

/// The bytes of a card, read past the cache where the system can.
#[derive(Debug)]
pub struct CardSource(pub Device);

impl Source for CardSource {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if offset
            .checked_add(buf.len() as u64)
            .is_none_or(|end| end > self.0.len())
        {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "range passes the end of the card",
            ));
        }
        self.0.read_at(offset, buf)
    }
}

/// The bytes of a device; `None` when the path is something else.
pub fn device_source(path: &Path) -> Result<Option<Arc<dyn Source>>, Failure> {
    use std::os::unix::fs::FileTypeExt;
    let kind = std::fs::metadata(path)
        .map_err(|e| Failure::from(e).while_doing(format!("cannot open `{}`", path.display())))?
        .file_type();
    if !kind.is_block_device() && !kind.is_char_device() {
        return Ok(None);
    }
    let disk = disks::disk(&ThisHost, &path.to_string_lossy())?;
    let device = Device::open(&disk.path, Opened::Read, disk.size).map_err(|e| {
        let denied = e.kind() == io::ErrorKind::PermissionDenied;
        let failure = Failure::from(e).while_doing(format!("cannot open `{}`", path.display()));
        if denied {
            failure.hint(format!(
                "devices belong to root: run it by `sudo`, or `sudo chown $USER {}`",
                path.display()
            ))
        } else {
            failure
        }
    })?;
    Ok(Some(Arc::new(CardSource(device))))
}

/// A source of which only some ranges are looked at; the rest reads as zeroes.
#[derive(Debug)]
struct UsedOnly {
    source: Arc<dyn Source>,
    used: Vec<Range<u64>>,
}

impl Source for UsedOnly {
    fn len(&self) -> u64 {
        self.source.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset + buf.len() as u64;
        buf.fill(0);
        let first = self.used.partition_point(|r| r.end <= offset);
        for range in self.used[first..].iter().take_while(|r| r.start < end) {
            let (from, to) = (range.start.max(offset), range.end.min(end));
            self.source
                .read_at(from, &mut buf[(from - offset) as usize..(to - offset) as usize])?;
        }
        Ok(())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let first = self.used.partition_point(|r| r.end <= offset);
        Ok(self.used.get(first).map(|r| r.start.max(offset)..r.end))
    }
}

/// `ceil-img backup`
pub fn backup(context: &Context, args: &args::Backup) -> Result<Outcome, Failure> {
    let path = Path::new(&args.device);
    let image = context.open_image(path)?;
    // What lies behind the last partition of a card is nobody's; a GPT ends at the end of the card.
    if image.table.kind == TableKind::Mbr
        && let Some(end) = image.table.partitions.iter().map(|p| p.range().end).max()
    {
        image.overlay.set_len(end.min(BlockIo::len(&*image.overlay)));
    }
    let used = image.used_ranges(BLOCK)?;
    let whole: Arc<dyn Source> = Arc::new(crate::flash::Whole(Arc::clone(&image.overlay)));
    let overlay = Overlay::new(Arc::new(UsedOnly {
        source: whole,
        used: used.clone(),
    }));
    let output = Output::create(&args.to)?;
    // A card holds keys and tokens of its node.
    output.keep_private()?;
    let emitted = emit(
        &Request {
            overlay: &overlay,
            used: &used,
            format: by_name(&args.to.to_string_lossy()),
            cancel: &context.cancel,
            reporter: &*context.reporter,
        },
        &output,
    )?;
    let with = |ending: &str| {
        let mut name = args.to.clone().into_os_string();
        name.push(ending);
        std::path::PathBuf::from(name)
    };
    let name = args
        .to
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let sums = format!("{}  {name}\n", emitted.file_digest.hex());
    let beside = [
        Output::with_bytes(&with(".sha256"), sums.as_bytes())?,
        Output::with_bytes(&with(".bmap"), emitted.bmap.to_xml().as_bytes())?,
    ];
    output.finish()?;
    for file in beside {
        file.finish()?;
    }
    let used: u64 = used.iter().map(|r| r.end - r.start).sum();
    if context.json {
        message::json(&json!({
            "event": "backed-up", "device": args.device, "image": args.to, "file_digest": emitted.file_digest,
            "raw_digest": emitted.raw_digest, "raw_size": emitted.bmap.image_len, "used": used,
            "card": on_card(&image),
        }))?;
    } else {
        message::line(&format!("{}  {}", emitted.file_digest.hex(), args.to.display()))?;
    }
    Ok(Outcome::Done)
}
