//! Cards of the nodes, made as `build` makes images, and what the firmware would start from them.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::{Context, Failure, Kind, Planned, View, args};
use crate::boot::{Content, Disk, Drive, Firmware, Machine, WantedDisk};
use crate::cli::build::finish_planned;
use crate::cli::context::Base;
use crate::cli::message;
use crate::disk::{BlockIo, Bytes, Overlay, SECTOR};
use crate::emit::{Card, Output, qcow2};
use crate::fetch::FileSource;
use crate::plan::NodePlan;
use crate::spec::Role;
use crate::values::{ByteSize, VolumeName};

/// The smallest card that is sold.
const CARD: u64 = 8 << 30;

/// What lies in the folder of a run. Dropped, what holds secrets is removed unless it is to be kept.
pub struct Cards<'a> {
    args: &'a args::Boot,
    /// Files that go at the end.
    private: Vec<PathBuf>,
    /// Bases under the cards, which nobody may remove from the cache meanwhile.
    bases: Vec<Base>,
}

impl<'a> Cards<'a> {
    /// Makes the folder, or takes the one that is there. To go on, it must have the card of one of the nodes.
    pub fn open(args: &'a args::Boot, planned: &Planned) -> Result<Self, Failure> {
        let dir = &args.dir;
        let has_card = |plan: &NodePlan| dir.join(format!("{}.qcow2", plan.node)).is_file();
        if args.resume && !planned.plans.iter().any(has_card) {
            let text = format!("there is no card in `{}` to go on with", dir.display());
            return Err(Failure::new(text).hint("a run with `--keep` leaves its cards"));
        }
        let fail = |e| Failure::from(e).while_doing(format!("cannot make the directory `{}`", dir.display()));
        if let Some(parent) = dir.parent() {
            fs::create_dir_all(parent).map_err(fail)?;
        }
        match fs::DirBuilder::new().mode(0o700).create(dir) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && dir.is_dir() => {
                fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(fail)?;
            }
            made => made.map_err(fail)?,
        }
        Ok(Self {
            args,
            private: Vec::new(),
            bases: Vec::new(),
        })
    }

    /// Writes a file that holds a secret.
    pub fn private(&mut self, name: &str, bytes: &[u8]) -> Result<PathBuf, Failure> {
        let path = std::path::absolute(self.args.dir.join(name))?;
        self.private.push(path.clone());
        Output::private(&path, bytes)?.finish()?;
        Ok(path)
    }

    /// The card of a node and its board, without network.
    pub fn make(
        &mut self,
        context: &Context,
        planned: &Planned,
        plan: &NodePlan,
        view: &View<'_>,
    ) -> Result<Machine, Failure> {
        let args = self.args;
        let base = context.base(&plan.base)?;
        let finished = finish_planned(context, &base, planned, plan)?;
        let board = view.resolved.settings.board.as_ref().map(|b| b.value);
        let boot = finished.image.volume(VolumeName::Boot)?;
        let name = board.map_or("virt", |b| b.model.name);
        let arch = finished.facts.as_ref().and_then(|f| f.arch);
        let firmware = Firmware::read(boot, name, arch, args.machine.device_tree())?;
        let node = &plan.node;
        let file = |ending: &str| std::path::absolute(args.dir.join(format!("{node}.{ending}")));
        let kernel = self.private(&format!("{node}.kernel"), &firmware.kernel)?;
        let initramfs = match &firmware.initramfs {
            Some(bytes) => Some(self.private(&format!("{node}.initramfs"), bytes)?),
            None => None,
        };
        let device_tree = match &firmware.device_tree {
            Some(bytes) => Some(self.private(&format!("{node}.dtb"), bytes)?),
            None => None,
        };
        let (card, content) = (file("qcow2")?, file("content")?);
        self.private.extend([card.clone(), content.clone()]);
        let digest = finished.content.to_string();
        if args.resume && card.is_file() {
            check_card(&card, &content, &digest)?;
        } else {
            if args.resume {
                context.note(&format!("node `{node}` is new here and gets a fresh card"));
            }
            let image = BlockIo::len(&*finished.image.overlay);
            let backed = Card {
                overlay: &finished.image.overlay,
                backing: base.file.as_deref(),
                size: card_size(args, image)?,
            };
            write(context, &backed, &card)?;
            Output::private(&content, digest.as_bytes())?.finish()?;
        }
        let mut disks = Vec::new();
        for wanted in args.disk.iter().filter(|wanted| wanted.node == *node) {
            disks.push(self.disk(context, view, wanted)?);
        }
        let log = file("log")?;
        if !args.resume || !log.exists() {
            Output::private(&log, b"")?.finish()?;
        }
        self.bases.push(base);
        if context.json {
            message::json(&json!({"event": "booted", "node": node, "content": finished.content}))?;
        } else {
            message::line(&format!("{}  {node}", finished.content.hex()))?;
        }
        let default = if view.role() == Role::Server { 2048 } else { 1024 };
        let default = board.map_or(default, |b| default.min(u64::from(b.memory())));
        let wanted = args.memory.map_or(default, |size| size.0 >> 20);
        Ok(Machine {
            kind: args.machine,
            wide: firmware.wide,
            memory: args.machine.memory().unwrap_or(wanted),
            processors: args.cpus,
            kernel,
            initramfs,
            device_tree,
            command_line: firmware.command_line,
            card,
            disks,
            durable: args.keep || args.resume || !args.fault.is_empty(),
            nics: Vec::new(),
            log,
            control: PathBuf::new(),
            clock: "utc".to_owned(),
        })
    }
}

impl Cards<'_> {
    /// A data disk of a node: a fresh one, or with `--resume` that of the last run where it had one.
    fn disk(&mut self, context: &Context, view: &View<'_>, wanted: &WantedDisk) -> Result<Disk, Failure> {
        let args = self.args;
        let WantedDisk { node, name, content } = wanted;
        let fail = |e: Failure| e.while_doing(format!("--disk {node}:{name}"));
        let disks = &view.resolved.settings.disks;
        let settings = disks.get(name).map(|disk| &disk.value).ok_or_else(|| {
            let text = format!("node `{node}` has no disk `{name}`");
            let known: Vec<&str> = disks.keys().map(String::as_str).collect();
            fail(Failure::new(text)).hint(if known.is_empty() {
                "it has none at all: `disks` in the cluster file".to_owned()
            } else {
                format!("it has {}", known.join(", "))
            })
        })?;
        if settings.file.is_some() {
            let text = format!("`{name}` is a file on the root volume, which needs no disk");
            return Err(fail(Failure::new(text)));
        }
        let drive = Drive::of(name, settings.id.as_deref(), settings.wipe.as_deref())
            .map_err(|e| fail(Failure::new(e)))?;
        let file = std::path::absolute(args.dir.join(format!("{node}.{name}.qcow2")))?;
        self.private.push(file.clone());
        if !(args.resume && file.is_file()) {
            match content {
                Content::Blank(size) => {
                    let card = Card {
                        overlay: &Overlay::new(Bytes::shared(&[])),
                        backing: None,
                        size: size.0,
                    };
                    write(context, &card, &file)?;
                }
                Content::Image(path) => {
                    let path = std::path::absolute(path)?;
                    let source = FileSource::held(&path).map_err(|e| fail(e.into()))?;
                    let overlay = Overlay::new(Arc::new(source));
                    let card = Card {
                        size: BlockIo::len(&overlay).next_multiple_of(SECTOR),
                        overlay: &overlay,
                        backing: Some(&path),
                    };
                    write(context, &card, &file)?;
                }
            }
        }
        Ok(Disk { file, drive })
    }
}

fn write(context: &Context, card: &Card<'_>, file: &Path) -> Result<(), Failure> {
    let output = Output::create(file)?;
    output.keep_private()?;
    qcow2(card, &output, &context.cancel)?;
    output.finish()?;
    Ok(())
}

impl Drop for Cards<'_> {
    fn drop(&mut self) {
        if self.args.keep || self.args.resume {
            return;
        }
        for path in &self.private {
            // What cannot be removed has mode 0600 in a folder of mode 0700.
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether the card of the last run is of the same image.
fn check_card(card: &Path, content: &Path, digest: &str) -> Result<(), Failure> {
    match fs::read_to_string(content) {
        Ok(text) if text == digest => Ok(()),
        _ => Err(
            Failure::new(format!("`{}` was made from another plan", card.display()))
                .hint("leave `--resume` out for fresh cards"),
        ),
    }
}

fn card_size(args: &args::Boot, image: u64) -> Result<u64, Failure> {
    let size = match args.card {
        Some(size) => size.0,
        None => image.next_power_of_two().max(CARD),
    };
    if size < image {
        return Err(Failure::new(format!(
            "--card {}: the image needs {}",
            ByteSize(size),
            ByteSize(image)
        )));
    }
    if args.machine != Kind::Virt && !size.is_power_of_two() {
        return Err(Failure::new(format!(
            "--card {}: the emulator of a `{}` takes cards of a power of two, such as `8GiB`",
            ByteSize(size),
            args.machine.word()
        )));
    }
    if size % SECTOR != 0 {
        return Err(Failure::new(format!(
            "--card {size}: a card has whole sectors of {SECTOR} bytes"
        )));
    }
    Ok(size)
}
