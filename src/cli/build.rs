//! `build`: from plans to images.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::args;
use super::context::{Base, Context, facts, open_content, places};
use super::gates;
use super::message::{self, Failure, Outcome};
use super::plan::{Planned, Remember, plan_nodes};
use super::programs;
use super::rows;
use super::verify;
use crate::base_os::BaseFacts;
use crate::bmap::BLOCK;
use crate::cloud_config::check_user_data;
use crate::diff;
use crate::disk::BlockIo;
use crate::edit::{Applied, Touch, apply};
use crate::emit::{
    ChangedPath, Emitted, ImageFacts, Input, Manifest, Output, Request, content_digest, emit, suffix,
};
use crate::fetch::FilePool;
use crate::fs::{NodeKind, show, tree};
use crate::image::Image;
use crate::lock::Mode;
use crate::plan::{Content, Edit, NodePlan, OutputFormat};
use crate::planner;
use crate::report::{Event, Reporter, Step};
use crate::values::{Digest, Timestamp, VolumeName};

/// An edited image that is ready to be written.
pub struct Finished {
    pub image: Image,
    pub facts: Option<BaseFacts>,
    pub applied: Applied,
    pub used: Vec<std::ops::Range<u64>>,
    pub content: Digest,
}

/// Opens the base, carries the edits out and commits them to the overlay.
pub fn finish(
    context: &Context,
    base: &Base,
    subject: &str,
    reserve: u64,
    epoch: Timestamp,
    edits: impl FnOnce(&Image, Option<&BaseFacts>) -> Result<Vec<Edit>, Failure>,
) -> Result<Finished, Failure> {
    context.reporter.event(&Event::Start {
        step: Step::Edit,
        subject,
        total: None,
    });
    let mut image = Image::open(Arc::clone(&base.source))
        .map_err(|e| Failure::from(e).while_doing(format!("cannot open the base `{}`", base.name)))?;
    context.tell_recovered(&image, &base.name);
    let facts = facts(&image)?;
    let edits = edits(&image, facts.as_ref())?;
    let places = places(facts.as_ref());
    let pool = FilePool::shared();
    let open = |content: &Content| Ok(open_content(&pool, content));
    let applied = apply(&mut image, &edits, &places, reserve, epoch, &open)?;
    image.commit()?;
    let used = image.used_ranges(BLOCK)?;
    let content = content_digest(&base.raw_digest, &image.overlay)?;
    context.reporter.event(&Event::End { step: Step::Edit });
    Ok(Finished {
        image,
        facts,
        applied,
        used,
        content,
    })
}

/// Writes a finished image to a file that waits for its name.
pub fn write(
    context: &Context,
    finished: &Finished,
    format: OutputFormat,
    target: &Path,
) -> Result<(Output, Emitted), Failure> {
    let output = Output::create(target)?;
    if !finished.applied.secrets.is_empty() {
        output.keep_private()?;
    }
    let emitted = emit(
        &Request {
            overlay: &finished.image.overlay,
            used: &finished.used,
            format,
            cancel: &context.cancel,
            reporter: &*context.reporter,
        },
        &output,
    )?;
    Ok((output, emitted))
}

/// `ceil-img build`
pub fn build(context: &Context, args: &args::Build) -> Result<Outcome, Failure> {
    let mode = if args.locked { Mode::Locked } else { Mode::Fill };
    context.use_lock(&args.cluster, mode, true)?;
    let planned = plan_nodes(context, &args.cluster, &args.nodes, Remember::Yes)?;
    for (name, text) in &planned.kubeconfigs {
        let file = kubeconfig_path(&args.out, name, planned.spec.name.as_str());
        Output::private(&file, text.reveal().as_bytes())?.finish()?;
    }
    for (name, text) in &planned.clients {
        Output::private(&args.out.join(format!("{name}.conf")), text.reveal().as_bytes())?.finish()?;
    }
    for node in &planned.plans {
        build_node(context, args, &planned, node)
            .map_err(|e| e.while_doing(format!("node `{}` was not built", node.node)))?;
    }
    Ok(Outcome::Done)
}

/// Where the kubeconfig of a cluster goes; `own` is the name of the file's own cluster.
pub(super) fn kubeconfig_path(out: &Path, name: &str, own: &str) -> PathBuf {
    if name == own {
        out.join("kubeconfig")
    } else {
        out.join(format!("kubeconfig-{name}"))
    }
}

fn build_node(
    context: &Context,
    args: &args::Build,
    planned: &Planned,
    node: &NodePlan,
) -> Result<(), Failure> {
    let base = context.base(&node.base)?;
    let finished = finish_planned(context, &base, planned, node)?;
    warn_of_user_data(context, &finished.image, &node.node)?;
    let format = args.format.unwrap_or(node.output);
    let stem = args.out.join(&node.node);
    let with = |ending: &str| {
        let mut name = stem.clone().into_os_string();
        name.push(ending);
        PathBuf::from(name)
    };
    let image = &finished.image.overlay;
    let judge_rows = |manifest: &Manifest| rows::built(context, args, node, image, manifest, &base.source);
    let mut manifest = manifest(node, &base, &finished)?;
    manifest
        .inputs
        .extend(programs::inputs(&planned.programs.of(context, node)?));
    let manifest_path = with(".manifest.json");
    if format == OutputFormat::None {
        if args.verify {
            verify::unwritten(image, &manifest)?;
            judge_rows(&manifest)?;
        }
        Output::with_bytes(&manifest_path, manifest.to_json().as_bytes())?.finish()?;
        return built(context, node, &manifest, None, &manifest_path);
    }
    let image_path = with(suffix(format));
    let (output, emitted) = write(context, &finished, format, &image_path)?;
    let file_name = image_path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    manifest.image.file = Some(file_name.clone());
    manifest.image.file_digest = Some(emitted.file_digest.clone());
    manifest.image.raw_digest = Some(emitted.raw_digest.clone());
    let mut sums_path = image_path.clone().into_os_string();
    sums_path.push(".sha256");
    let sums = format!("{}  {file_name}\n", emitted.file_digest.hex());
    let beside = [
        Output::with_bytes(Path::new(&sums_path), sums.as_bytes())?,
        Output::with_bytes(&with(".img.bmap"), emitted.bmap.to_xml().as_bytes())?,
        Output::with_bytes(&manifest_path, manifest.to_json().as_bytes())?,
    ];
    // What describes an older image goes first, so that a run killed here leaves a whole image without companions
    // and never an image beside another one's checksum.
    for old in &beside {
        remove_if_there(old.target())?;
    }
    output.finish()?;
    for file in beside {
        file.finish()?;
    }
    if args.verify {
        verify::built(context, &image_path, image, &manifest)?;
        judge_rows(&manifest)?;
    }
    built(context, node, &manifest, Some(&image_path), &manifest_path)
}

/// Warns of what the cloud-init of an image would refuse or pass over in its final user-data, whoever wrote it (F060,
/// P61).
fn warn_of_user_data(context: &Context, image: &Image, node: &str) -> Result<(), Failure> {
    let Some(cloud) = facts(image)?.and_then(|facts| facts.cloud_init) else {
        return Ok(());
    };
    let text = cloud.user_data.as_deref().unwrap_or_default();
    for finding in check_user_data(text, cloud.version.as_deref()) {
        context.warn(&format!("node `{node}`: user-data: {finding}"));
    }
    Ok(())
}

/// Makes the image of a node in memory, with its programs fetched and its gates asked.
pub fn finish_planned(
    context: &Context,
    base: &Base,
    planned: &Planned,
    node: &NodePlan,
) -> Result<Finished, Failure> {
    finish_node(
        context,
        base,
        node,
        &|| programs::edits(node, &planned.programs.of(context, node)?),
        &|facts| gates::opened(context, &planned.gates, &node.node, facts),
        &|text| context.note(text),
    )
}

/// Makes the image of a node in memory, unless `judge` has something against its base; `programs`, which may have to be
/// fetched, are asked for only afterwards.
pub fn finish_node(
    context: &Context,
    base: &Base,
    node: &NodePlan,
    programs: &dyn Fn() -> Result<Vec<Edit>, Failure>,
    judge: &dyn Fn(Option<&BaseFacts>) -> Result<(), Failure>,
    note: &dyn Fn(&str),
) -> Result<Finished, Failure> {
    finish(
        context,
        base,
        &node.node,
        node.reserve.0,
        node.epoch,
        |image, facts| {
            // A node needs both volumes: without them it would keep the name of the base.
            image.volume(VolumeName::Boot)?;
            image.volume(VolumeName::Root)?;
            judge(facts)?;
            let resolved = planner::resolve(node, facts, programs()?)?;
            if let Some(arch) = facts.and_then(|f| f.arch) {
                let pool = FilePool::shared();
                programs::check_machines(&resolved.edits, arch, &|content| open_content(&pool, content))?;
            }
            for text in &resolved.notes {
                note(text);
            }
            Ok(resolved.edits)
        },
    )
}

fn remove_if_there(path: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::from(error).while_doing(format!("cannot replace `{}`", path.display())))
        }
        _ => Ok(()),
    }
}

fn built(
    context: &Context,
    node: &NodePlan,
    manifest: &Manifest,
    image: Option<&Path>,
    manifest_path: &Path,
) -> Result<(), Failure> {
    if context.json {
        message::json(&json!({
            "event": "built",
            "node": node.node,
            "image": image.map(|p| p.display().to_string()),
            "manifest": manifest_path.display().to_string(),
            "file_digest": manifest.image.file_digest,
            "raw_digest": manifest.image.raw_digest,
            "content": manifest.image.content,
            "plan": manifest.plan,
            "raw_size": manifest.image.raw_size,
            "used": manifest.image.used,
        }))?;
        return Ok(());
    }
    let text = match (image, &manifest.image.file_digest) {
        (Some(image), Some(digest)) => format!("{}  {}", digest.hex(), image.display()),
        _ => format!("{}  {}", manifest.image.content.hex(), node.node),
    };
    message::line(&text)?;
    Ok(())
}

/// The line that the firmware hands to the kernel, as it is in the image now.
pub fn kernel_command_line(image: &Image, facts: Option<&BaseFacts>) -> Result<Option<String>, Failure> {
    let (Some(path), Ok(boot)) = (
        facts.and_then(|f| f.cmdline_path.as_ref()),
        image.volume(VolumeName::Boot),
    ) else {
        return Ok(None);
    };
    let text = tree::read_small(boot, path.as_bytes(), 1 << 16)?;
    Ok(Some(show(&text).trim_end().to_owned()))
}

/// What went into the image of a node, and what became of it, before it is written.
pub fn manifest(node: &NodePlan, base: &Base, finished: &Finished) -> Result<Manifest, Failure> {
    let image = &finished.image;
    let command_line = kernel_command_line(image, finished.facts.as_ref())?;
    Ok(Manifest {
        tool: concat!("ceil-img ", env!("CARGO_PKG_VERSION")).to_owned(),
        manifest_version: 1,
        cluster: node.cluster.clone(),
        node: node.node.clone(),
        plan: node.digest.clone(),
        inputs: vec![Input {
            role: "base",
            name: base.name.clone(),
            version: None,
            arch: None,
            digest: base.raw_digest.clone(),
            size: base.raw_len,
            download_digest: base.download_digest.clone(),
            verified: Some(base.verified.word().to_owned()),
        }],
        image: ImageFacts {
            file: None,
            file_digest: None,
            raw_digest: None,
            raw_size: BlockIo::len(&*image.overlay),
            used: finished.used.iter().map(|r| r.end - r.start).sum(),
            content: finished.content.clone(),
        },
        kernel_command_line: command_line,
        changes: changes(image, &finished.applied)?,
    })
}

/// Every touched path as it now is in the image.
pub fn changes(image: &Image, applied: &Applied) -> Result<Vec<ChangedPath>, Failure> {
    let mut out = Vec::with_capacity(applied.touched.len());
    for ((name, path), touch) in &applied.touched {
        let volume = image.volume(*name)?;
        let shown = format!("{name}:{}", show(path));
        let stat = match touch {
            Touch::Removed => None,
            Touch::Present(_) => volume.stat(path)?,
        };
        let Some(stat) = stat else {
            out.push(ChangedPath {
                path: shown,
                kind: "removed".to_owned(),
                mode: None,
                owner: None,
                size: None,
                digest: None,
                secret: false,
                target: None,
            });
            continue;
        };
        let secret = applied.secrets.contains(&(*name, path.clone()));
        let digest = match (stat.kind, touch) {
            _ if secret => None,
            (NodeKind::File, Touch::Present(Some(digest))) => Some(digest.clone()),
            (NodeKind::File, _) => Some(diff::digest(volume, path)?),
            _ => None,
        };
        out.push(ChangedPath {
            path: shown,
            kind: stat.kind.to_string(),
            mode: Some(format!("{:04o}", stat.mode)),
            owner: Some(format!("{}:{}", stat.uid, stat.gid)),
            size: (stat.kind == NodeKind::File && !secret).then_some(stat.size),
            digest,
            secret,
            target: match stat.kind {
                NodeKind::Symlink => Some(show(&volume.read_link(path)?)),
                _ => None,
            },
        });
    }
    out.sort();
    Ok(out)
}
