//! `build`, `plan`, `fetch` and `edit`: from wishes to images.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::args;
use super::context::{Base, Context, facts, open_content, places};
use super::memo::Memo;
use super::message::{self, Failure, Outcome};
use super::verify;
use crate::base_os::BaseFacts;
use crate::bmap::BLOCK;
use crate::diff;
use crate::disk::BlockIo;
use crate::edit::{Applied, Touch, apply};
use crate::emit::{
    ChangedPath, ImageFacts, Input, Manifest, Output, Request, by_name, content_digest, emit, suffix,
};
use crate::fetch::FilePool;
use crate::fs::{NodeKind, show, tree};
use crate::image::Image;
use crate::inputs::{self, Reading};
use crate::plan::{BasePlace, BaseRef, Content, Edit, NodePlan, Origin, OutputFormat};
use crate::planner;
use crate::report::{Event, Reporter, Step};
use crate::spec::{ClusterSpec, NodeSpec, nearest, parse_cluster};
use crate::values::{Digest, Timestamp, VolumeName};

/// A cluster of one node for a first try, used when there is no cluster file and its node is asked for by name.
const FIRST_TRY: &str = "cluster: {name: first}\nnodes: [{name: one, profile: minimal}]\n";

/// Reads the cluster file and plans the nodes that were asked for, in the order of the command line; all when
/// `names` is empty.
fn plan_nodes(
    context: &Context,
    args: &args::ClusterArgs,
    names: &[String],
) -> Result<Vec<NodePlan>, Failure> {
    let default_file = args.file == Path::new("cluster.yaml");
    let cluster = if default_file && !args.file.exists() && names == ["one"] {
        context
            .note("there is no cluster.yaml here: node `one` is taken from the built-in profile `minimal`");
        parse_cluster("<built-in>", Path::new(""), FIRST_TRY)?
    } else {
        inputs::read_cluster(&args.file).map_err(|e| {
            let failure = Failure::from(e);
            if args.file.exists() {
                failure
            } else {
                failure.hint("name the cluster file with `--file`")
            }
        })?
    };
    let nodes = select(&cluster, names)?;
    let epoch = planner::epoch(&cluster, context.source_date_epoch()?);
    let base = args.base.as_deref().map(base_argument);
    let memo = Memo::open(&context.cache);
    let read = inputs::read_inputs(
        &cluster,
        &nodes,
        Reading {
            memo: &memo,
            reporter: &*context.reporter,
        },
    );
    memo.save();
    let inputs = read?;
    nodes
        .iter()
        .map(|node| Ok(planner::plan_node(&cluster, node, &inputs, base.as_ref(), epoch)?))
        .collect()
}

/// `--base`: a URL, a file (anything with a slash, or that exists), or a name.
fn base_argument(text: &str) -> BaseRef {
    let place = if text.starts_with("http://") || text.starts_with("https://") {
        BasePlace::Url(text.to_owned())
    } else if text.contains('/') || Path::new(text).exists() {
        BasePlace::Path(PathBuf::from(text))
    } else {
        BasePlace::Name(text.to_owned())
    };
    BaseRef {
        place,
        sha256: None,
        sha512: None,
        raw_sha256: None,
        checksum_url: None,
        origin: Origin {
            file: "--base".to_owned(),
            line: 0,
        },
    }
}

/// The nodes that were asked for.
fn select<'a>(cluster: &'a ClusterSpec, names: &[String]) -> Result<Vec<&'a NodeSpec>, Failure> {
    if names.is_empty() {
        return Ok(cluster.nodes.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            cluster
                .nodes
                .iter()
                .find(|node| node.name.as_str() == name)
                .ok_or_else(|| {
                    let known: Vec<&str> = cluster.nodes.iter().map(|n| n.name.as_str()).collect();
                    let near = nearest(name, known.iter().copied())
                        .map_or(String::new(), |n| format!(", did you mean `{n}`?"));
                    Failure::new(format!("{}: there is no node `{name}`{near}", cluster.file))
                        .hint(format!("its nodes are {}", known.join(", ")))
                })
        })
        .collect()
}

/// An edited image that is ready to be written.
struct Finished {
    image: Image,
    facts: Option<BaseFacts>,
    applied: Applied,
    used: Vec<std::ops::Range<u64>>,
    content: Digest,
}

/// Opens the base, carries the edits out and commits them to the overlay.
fn finish(
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

/// `ceil-img build`
pub fn build(context: &Context, args: &args::Build) -> Result<Outcome, Failure> {
    for node in plan_nodes(context, &args.cluster, &args.nodes)? {
        build_node(context, args, &node)
            .map_err(|e| e.while_doing(format!("node `{}` was not built", node.node)))?;
    }
    Ok(Outcome::Done)
}

fn build_node(context: &Context, args: &args::Build, node: &NodePlan) -> Result<(), Failure> {
    let base = context.base(&node.base)?;
    let finished = finish(
        context,
        &base,
        &node.node,
        node.reserve.0,
        node.epoch,
        |image, facts| {
            // A node needs both volumes: without them it would keep the name of the base.
            image.volume(VolumeName::Boot)?;
            image.volume(VolumeName::Root)?;
            let resolved = planner::resolve(node, facts)?;
            for text in &resolved.notes {
                context.note(text);
            }
            Ok(resolved.edits)
        },
    )?;
    let format = args.format.unwrap_or(node.output);
    let stem = args.out.join(&node.node);
    let with = |ending: &str| {
        let mut name = stem.clone().into_os_string();
        name.push(ending);
        PathBuf::from(name)
    };
    let mut manifest = manifest(node, &base, &finished)?;
    let manifest_path = with(".manifest.json");
    if format == OutputFormat::None {
        Output::with_bytes(&manifest_path, manifest.to_json().as_bytes())?.finish()?;
        return built(context, node, &manifest, None, &manifest_path);
    }
    let image_path = with(suffix(format));
    let output = Output::create(&image_path)?;
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
        verify::built(context, &image_path, &manifest)?;
    }
    built(context, node, &manifest, Some(&image_path), &manifest_path)
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

fn manifest(node: &NodePlan, base: &Base, finished: &Finished) -> Result<Manifest, Failure> {
    let image = &finished.image;
    let command_line = match (&finished.facts, image.volume(VolumeName::Boot)) {
        (Some(facts), Ok(boot)) => match &facts.cmdline_path {
            Some(path) => Some(
                show(&tree::read_small(boot, path.as_bytes(), 1 << 16)?)
                    .trim_end()
                    .to_owned(),
            ),
            None => None,
        },
        _ => None,
    };
    Ok(Manifest {
        tool: concat!("ceil-img ", env!("CARGO_PKG_VERSION")).to_owned(),
        manifest_version: 1,
        cluster: node.cluster.clone(),
        node: node.node.clone(),
        plan: node.digest.clone(),
        inputs: vec![Input {
            role: "base",
            name: base.name.clone(),
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
fn changes(image: &Image, applied: &Applied) -> Result<Vec<ChangedPath>, Failure> {
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
                target: None,
            });
            continue;
        };
        let digest = match (stat.kind, touch) {
            (NodeKind::File, Touch::Present(Some(digest))) => Some(digest.clone()),
            (NodeKind::File, _) => Some(diff::digest(volume, path)?),
            _ => None,
        };
        out.push(ChangedPath {
            path: shown,
            kind: stat.kind.to_string(),
            mode: Some(format!("{:04o}", stat.mode)),
            owner: Some(format!("{}:{}", stat.uid, stat.gid)),
            size: (stat.kind == NodeKind::File).then_some(stat.size),
            digest,
            target: match stat.kind {
                NodeKind::Symlink => Some(show(&volume.read_link(path)?)),
                _ => None,
            },
        });
    }
    out.sort();
    Ok(out)
}

/// `ceil-img plan`
pub fn plan(context: &Context, args: &args::PlanArgs) -> Result<Outcome, Failure> {
    let names = [args.node.clone()];
    for node in &plan_nodes(context, &args.cluster, &names)? {
        // A base that is already here is looked at; nothing is fetched or written for a plan.
        let facts = context.facts_at_hand(&node.base)?;
        let resolved = planner::resolve(node, facts.as_ref())?;
        if context.json {
            message::json(&node.to_json(&resolved.edits, &resolved.notes))?;
        } else {
            message::line(node.to_table(&resolved.edits, &resolved.notes).trim_end())?;
        }
    }
    Ok(Outcome::Done)
}

/// `ceil-img fetch`
pub fn fetch(context: &Context, args: &args::Fetch) -> Result<Outcome, Failure> {
    let bases: Vec<BaseRef> = match (
        &args.cluster.base,
        args.nodes.is_empty(),
        args.cluster.file.exists(),
    ) {
        // Without a cluster file, a base alone is enough.
        (Some(base), true, false) => vec![base_argument(base)],
        _ => {
            let mut bases: Vec<BaseRef> = Vec::new();
            for node in plan_nodes(context, &args.cluster, &args.nodes)? {
                if bases.iter().all(|b| b.place != node.base.place) {
                    bases.push(node.base.clone());
                }
            }
            bases
        }
    };
    for base in bases {
        let here = context.base(&base)?;
        if context.json {
            message::json(&json!({
                "event": "fetched", "base": here.name, "raw_digest": here.raw_digest, "size": here.raw_len,
                "download_digest": here.download_digest, "verified": here.verified,
            }))?;
        } else {
            message::line(&format!(
                "{}  {}  {}",
                here.raw_digest.hex(),
                here.verified,
                here.name
            ))?;
        }
    }
    Ok(Outcome::Done)
}

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
    // The digest of the input is not asked for: only the content of the output matters here.
    let base = Base {
        raw_len: source.len(),
        source,
        raw_digest: Digest::sha256(b""),
        download_digest: None,
        verified: crate::values::ChecksumState::None,
        name: args.image.display().to_string(),
    };
    let subject = target.display().to_string();
    let finished = finish(context, &base, &subject, args.reserve.0, epoch, |_, _| Ok(edits))?;
    let output = Output::create(target)?;
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
