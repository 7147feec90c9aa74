//! `plan` and `fetch`: from the cluster file to plans, and what they need.

use std::path::Path;

use serde_json::json;

use super::args;
use super::build::kernel_command_line;
use super::context::{Context, facts, places};
use super::export::wireguard_files;
use super::gates;
use super::memo::Memo;
use super::message::{self, Failure, Outcome};
use super::programs::{self, Programs};
use super::replan;
use super::secrets::add_secrets;
use crate::amend;
use crate::base_os::BaseFacts;
use crate::disk::BlockIo;
use crate::edit::grow;
use crate::image::Image;
use crate::inputs::{self, Reading};
use crate::lock::Mode;
use crate::plan::{BaseRef, Edit, NodePlan, Op};
use crate::planner::{self, Gate};
use crate::secrets::Secret;
use crate::spec::{ClusterSpec, Inputs, NodeSpec, nearest, parse_base, parse_cluster};
use crate::values::{ByteSize, ChecksumState, Digest, ImagePath, VolumeName};

/// Whether digests of payload files are kept for the next run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Remember {
    /// For commands that build.
    Yes,
    /// For commands that promise to write nothing.
    No,
}

/// A cluster of one node for a first try, used when there is no cluster file and its node is asked for by name.
pub(super) const FIRST_TRY: &str = "cluster: {name: first}\nnodes: [{name: one, profile: minimal}]\n";

/// Plans, and what is made for the workstation.
#[derive(Debug)]
pub struct Planned {
    /// The nodes that were asked for.
    pub plans: Vec<NodePlan>,
    /// Name and kubeconfig of each cluster of the file.
    pub kubeconfigs: Vec<(String, Secret)>,
    /// Name and file of each VPN client; none for commands that promise to write nothing.
    pub clients: Vec<(String, Secret)>,
    /// What is asked of each node's base once it is open.
    pub gates: Vec<Gate>,
    /// The cluster file.
    pub spec: ClusterSpec,
    /// What it names.
    pub inputs: Inputs,
    /// Where programs come from.
    pub programs: Programs,
}

/// Reads the cluster file and plans the nodes that were asked for, in the order of the command line; all when
/// `names` is empty.
pub fn plan_nodes(
    context: &Context,
    args: &args::ClusterArgs,
    names: &[String],
    remember: Remember,
) -> Result<Planned, Failure> {
    let cluster = cluster_file(context, args, names)?;
    let nodes = select(&cluster, names)?;
    let epoch = planner::epoch(&cluster, context.source_date_epoch()?);
    let base = base_argument(args)?;
    let memo = Memo::open(&context.cache);
    let read = inputs::read_inputs(
        &cluster,
        &nodes,
        Reading {
            memo: &memo,
            reporter: &*context.reporter,
        },
    );
    if remember == Remember::Yes {
        memo.save();
    }
    let mut inputs = read?;
    let opened = gates::before(context, &cluster, &mut inputs, &nodes, base.as_ref())?;
    add_secrets(context, &cluster, &mut inputs, remember)?;
    let programs = Programs::open(context, &args.file)?;
    programs.add(context, &cluster, &nodes, &mut inputs)?;
    let plans = nodes
        .iter()
        .map(|node| Ok(planner::plan_node(&cluster, node, &inputs, base.as_ref(), epoch)?))
        .collect::<Result<_, Failure>>()?;
    let kubeconfigs = planner::kubeconfigs(&cluster, &inputs)?;
    let clients = match remember {
        Remember::Yes => wireguard_files(context, &cluster, &mut inputs)?,
        Remember::No => Vec::new(),
    };
    Ok(Planned {
        plans,
        kubeconfigs,
        clients,
        gates: opened,
        spec: cluster,
        inputs,
        programs,
    })
}

/// The cluster file, or the built-in one for a first try.
pub(super) fn cluster_file(
    context: &Context,
    args: &args::ClusterArgs,
    names: &[String],
) -> Result<ClusterSpec, Failure> {
    let default_file = args.file == Path::new("cluster.yaml");
    if default_file && !args.file.exists() && names == ["one"] {
        context
            .note("there is no cluster.yaml here: node `one` is taken from the built-in profile `minimal`");
        return Ok(parse_cluster("<built-in>", FIRST_TRY)?);
    }
    inputs::read_cluster(&args.file).map_err(|e| {
        let failure = Failure::from(e);
        if args.file.exists() {
            failure
        } else {
            failure.hint("name the cluster file with `--file`")
        }
    })
}

/// The cluster file with the settings of all its nodes, and nothing else read.
pub fn read_settings(context: &Context, file: &Path) -> Result<(ClusterSpec, Inputs), Failure> {
    let cluster = inputs::read_cluster(file)?;
    let reading = Reading {
        memo: &inputs::NoMemo,
        reporter: &*context.reporter,
    };
    let inputs = inputs::read_inputs(&cluster, &[], reading)?;
    Ok((cluster, inputs))
}

/// What `--base` names.
pub(super) fn base_argument(args: &args::ClusterArgs) -> Result<Option<BaseRef>, Failure> {
    args.base
        .as_deref()
        .map(|text| parse_base(text).map_err(|e| Failure::new(format!("--base: {e}"))))
        .transpose()
}

/// The nodes that were asked for.
pub(super) fn select<'a>(cluster: &'a ClusterSpec, names: &[String]) -> Result<Vec<&'a NodeSpec>, Failure> {
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

/// What can be said about the result once the base is at hand.
struct Preview {
    image_size: u64,
    root_size: u64,
    root_grows_by: u64,
    root_free: u64,
    kernel_command_line: Option<String>,
}

fn preview(
    image: &Image,
    facts: Option<&BaseFacts>,
    edits: &[Edit],
    reserve: u64,
) -> Result<Preview, Failure> {
    let places = places(facts);
    let root = image.partition(VolumeName::Root)?.len;
    let space = image.volume(VolumeName::Root)?.space();
    let on_root = |at: &ImagePath| grow::on_root(at, places.boot_mount.as_deref());
    let need = grow::need(edits, space.block_size, &on_root);
    let by = grow::decide(&space, &need, &grow::wish(edits, reserve));
    let mut line = kernel_command_line(image, facts)?;
    for edit in edits {
        if let (Op::KernelArgs { add, remove }, Some(text)) = (&edit.op, &mut line) {
            *text = amend::kernel_args(text, add, remove)?.trim_end().to_owned();
        }
    }
    Ok(Preview {
        image_size: BlockIo::len(&*image.overlay) + by,
        root_size: root + by,
        root_grows_by: by,
        root_free: space.free.saturating_add(by).saturating_sub(need.bytes),
        kernel_command_line: line,
    })
}

/// `ceil-img plan`
pub fn plan(context: &Context, args: &args::PlanArgs) -> Result<Outcome, Failure> {
    context.use_lock(&args.cluster, Mode::Fill, false)?;
    let planned = plan_nodes(context, &args.cluster, &args.nodes, Remember::No)?;
    let nodes = planned.plans;
    if args.diff {
        return replan::differences(context, &nodes, &planned.programs, &args.out);
    }
    if args.all {
        replan::table(context, &nodes, &planned.programs)?;
    }
    for node in &nodes {
        // A base that is already here is looked at; nothing is fetched or written for a plan.
        let image = context.image_at_hand(&node.base)?;
        let facts = match &image {
            Some(image) => facts(image)?,
            None => None,
        };
        gates::opened(context, &planned.gates, &node.node, facts.as_ref())?;
        let programs = planned.programs.at_hand(context, node)?;
        let at_hand = programs.is_some();
        let resolved = planner::resolve(node, facts.as_ref(), programs.unwrap_or_default())?;
        let preview = match &image {
            Some(image) if at_hand => Some(preview(image, facts.as_ref(), &resolved.edits, node.reserve.0)?),
            _ => None,
        };
        if context.json {
            let mut value = node.to_json(&resolved.edits, &resolved.notes);
            value["result"] = preview.as_ref().map_or(serde_json::Value::Null, |p| {
                json!({"image_size": p.image_size, "root_size": p.root_size, "root_grows_by": p.root_grows_by,
                    "root_free_at_least": p.root_free, "kernel_command_line": p.kernel_command_line})
            });
            message::json(&value)?;
            continue;
        }
        message::line(node.to_table(&resolved.edits, &resolved.notes).trim_end())?;
        let Some(p) = preview else {
            message::line(
                "note: sizes and the kernel command line are known once the base and the programs are in the cache",
            )?;
            continue;
        };
        message::line(&format!(
            "\nimage {}, root {} (grows by {}), about {} free",
            ByteSize(p.image_size),
            ByteSize(p.root_size),
            ByteSize(p.root_grows_by),
            ByteSize(p.root_free)
        ))?;
        if let Some(text) = p.kernel_command_line {
            message::line(&format!("kernel command line: {text}"))?;
        }
    }
    Ok(Outcome::Done)
}

/// `ceil-img fetch`
pub fn fetch(context: &Context, args: &args::Fetch) -> Result<Outcome, Failure> {
    let mode = match (args.update, args.locked) {
        (true, _) => Mode::Update,
        (_, true) => Mode::Locked,
        _ => Mode::Fill,
    };
    context.use_lock(&args.cluster, mode, true)?;
    let (bases, planned): (Vec<BaseRef>, Option<Planned>) = match (
        base_argument(&args.cluster)?,
        args.nodes.is_empty(),
        args.cluster.file.exists(),
    ) {
        // Without a cluster file, a base alone is enough.
        (Some(base), true, false) => (vec![base], None),
        _ => {
            let mut bases: Vec<BaseRef> = Vec::new();
            let planned = plan_nodes(context, &args.cluster, &args.nodes, Remember::No)?;
            for node in &planned.plans {
                if bases.iter().all(|b| b.place != node.base.place) {
                    bases.push(node.base.clone());
                }
            }
            (bases, Some(planned))
        }
    };
    for base in bases {
        let here = context.base(&base)?;
        if context.json {
            message::json(&json!({
                "event": "fetched", "base": here.name, "raw_digest": here.raw_digest, "size": here.raw_len,
                "download_digest": here.download_digest, "verified": here.verified,
                "from_cache": here.from_cache,
            }))?;
        } else {
            say_fetched(&here.raw_digest, here.verified, &here.name, here.from_cache)?;
        }
    }
    if let Some(planned) = planned {
        programs::fetch(context, &planned.programs, &planned.plans)?;
    }
    context.save_lock(args.nodes.is_empty())?;
    Ok(Outcome::Done)
}

/// One line for what `fetch` brought.
pub(super) fn say_fetched(
    digest: &Digest,
    verified: ChecksumState,
    name: &str,
    from_cache: bool,
) -> Result<(), Failure> {
    let cached = if from_cache { "  (was in the cache)" } else { "" };
    message::line(&format!("{}  {verified}  {name}{cached}", digest.hex()))?;
    Ok(())
}
