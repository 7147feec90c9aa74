//! `verify`: the rows of an image, one by one, with what is at hand about its node.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use serde_json::{Value, json};

use super::args;
use super::build::kubeconfig_path;
use super::context::Context;
use super::memo::Memo;
use super::message::{self, Failure, Outcome};
use super::plan::{base_argument, cluster_file, select};
use super::secrets::plain_secrets;
use crate::catalog::Catalog;
use crate::disk::{Overlay, Source};
use crate::emit::Manifest;
use crate::image::Image;
use crate::inputs::{self, Reading};
use crate::plan::{BaseRef, NodePlan};
use crate::planner;
use crate::rows::{self, Case, Node, Row, Verdict};
use crate::spec::{ClusterSpec, Inputs};
use crate::values::Timestamp;

/// What the cluster file says of one node.
struct Known {
    cluster: ClusterSpec,
    inputs: Inputs,
    name: String,
    base: Option<BaseRef>,
    epoch: Timestamp,
}

impl Known {
    /// Reads the cluster file for one of its nodes; nothing is made or written.
    fn read(context: &Context, args: &args::ClusterArgs, name: &str) -> Result<Self, Failure> {
        let names = [name.to_owned()];
        let cluster = cluster_file(context, args, &names)?;
        let nodes = select(&cluster, &names)?;
        let memo = Memo::open(&context.cache);
        let reading = Reading {
            memo: &memo,
            reporter: &*context.reporter,
        };
        let mut inputs = inputs::read_inputs(&cluster, &nodes, reading)?;
        inputs.secrets = plain_secrets(&args.file)?;
        let base = match base_argument(args)? {
            Some(base) => Some(base),
            None => inputs.nodes.get(name).and_then(|n| n.base.clone()),
        };
        let epoch = planner::epoch(&cluster, context.source_date_epoch()?);
        Ok(Self {
            cluster,
            inputs,
            name: name.to_owned(),
            base,
            epoch,
        })
    }
}

/// What there is to judge an image by.
struct Evidence<'a> {
    known: Option<&'a Known>,
    manifest: Option<&'a Value>,
    stock: Option<&'a Image>,
    /// The folder of the image.
    dir: &'a Path,
}

fn judge(image: &Image, evidence: &Evidence<'_>, catalog: &Catalog) -> Result<Vec<(Row, Verdict)>, Failure> {
    let mut case = Case::of(image, catalog).map_err(|e| Failure::new(format!("F009: {e}")))?;
    case.manifest = evidence.manifest;
    case.stock = evidence.stock;
    let views = match evidence.known {
        Some(known) => planner::views(&known.cluster, &known.inputs)?,
        None => Vec::new(),
    };
    if let Some(known) = evidence.known {
        let view = views.iter().find(|v| v.spec.name.as_str() == known.name);
        case.node = view.map(|view| Node {
            cluster: &known.cluster,
            inputs: &known.inputs,
            views: &views,
            view,
            base: known.base.as_ref(),
            epoch: known.epoch,
        });
        case.authority = view.and_then(|view| authority(evidence.dir, &view.cluster, known));
    }
    Ok(rows::all()
        .into_iter()
        .map(|row| (row, row.verdict(&case)))
        .collect())
}

/// Certificates of the cluster's authority, from the kubeconfig that was written beside the image.
fn authority(dir: &Path, cluster: &str, known: &Known) -> Option<String> {
    let file = kubeconfig_path(dir, cluster, known.cluster.name.as_str());
    let text = std::fs::read_to_string(file).ok()?;
    let data: Value = serde_saphyr::from_str(&text).ok()?;
    let packed = data["clusters"][0]["cluster"]["certificate-authority-data"].as_str()?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(packed).ok()?;
    String::from_utf8(bytes).ok()
}

/// The manifest beside an image, whichever way the image is packed.
fn manifest_of(image: &Path) -> Result<Option<Value>, Failure> {
    let name = image
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let stem = name.split(".img").next().unwrap_or_default();
    let path = image.with_file_name(format!("{stem}.manifest.json"));
    match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|e| Failure::from(e).while_doing(format!("`{}` is no manifest", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::from(error).while_doing(format!("cannot read `{}`", path.display()))),
    }
}

/// The node by the manifest, where the cluster file at hand is the one that it names.
fn by_manifest(
    context: &Context,
    args: &args::ClusterArgs,
    manifest: &Value,
) -> Result<Option<Known>, Failure> {
    let word = |key: &str| manifest[key].as_str().unwrap_or_default();
    let (cluster, node) = (word("cluster"), word("node"));
    let built_in = cluster == "first" && node == "one";
    if !args.file.exists() && !built_in {
        context.note(&format!(
            "the manifest says node `{node}` of `{cluster}`, and `{}` is not here: rows about the node are left open; name the cluster file with `--file`",
            args.file.display()
        ));
        return Ok(None);
    }
    let known = Known::read(context, args, node)?;
    let views = planner::views(&known.cluster, &known.inputs)?;
    let same = views
        .iter()
        .any(|v| v.spec.name.as_str() == node && v.cluster == cluster);
    if !same {
        return Err(Failure::new(format!(
            "the manifest says node `{node}` of the cluster `{cluster}`, and `{}` is of `{}`",
            args.file.display(),
            known.cluster.name
        ))
        .hint("name the cluster file that the image was built from with `--file`"));
    }
    Ok(Some(known))
}

/// `ceil-img verify`
pub fn verify(context: &Context, args: &args::Verify) -> Result<Outcome, Failure> {
    let image = context.open_image(&args.image)?;
    let manifest = manifest_of(&args.image)?;
    let known = match (&args.node, &manifest) {
        (Some(name), _) => Some(Known::read(context, &args.cluster, name)?),
        (None, Some(manifest)) => by_manifest(context, &args.cluster, manifest)?,
        (None, None) => None,
    };
    let stock = match known.as_ref().and_then(|k| k.base.as_ref()) {
        Some(base) => context.image_at_hand(base)?,
        None => None,
    };
    let evidence = Evidence {
        known: known.as_ref(),
        manifest: manifest.as_ref(),
        stock: stock.as_ref(),
        dir: args.image.parent().unwrap_or(Path::new("")),
    };
    let judged = judge(&image, &evidence, &context.catalog()?)
        .map_err(|e| e.while_doing(format!("`{}` cannot be verified", args.image.display())))?;
    for (row, verdict) in &judged {
        show(context, row, verdict)?;
    }
    context.note(&counts(&judged));
    let failed = judged.iter().any(|(_, v)| matches!(v, Verdict::Fail(_)));
    Ok(if failed { Outcome::Different } else { Outcome::Done })
}

fn show(context: &Context, row: &Row, verdict: &Verdict) -> Result<(), Failure> {
    if context.json {
        let mut event = json!({"event": "row", "id": row.id, "verdict": verdict.word(), "title": row.title});
        match verdict {
            Verdict::Fail(why) => event["why"] = json!(why),
            Verdict::Needs(what) => event["needs"] = json!(what),
            Verdict::Pass | Verdict::DoesNotApply => {}
        }
        message::json(&event)?;
        return Ok(());
    }
    let text = match verdict {
        Verdict::Fail(why) => format!("{}: {why}", row.title),
        Verdict::Needs(what) => format!("{} (needs {what})", row.title),
        Verdict::Pass | Verdict::DoesNotApply => row.title.to_owned(),
    };
    message::line(&format!("{}  {:<14}  {text}", pad(row.id), verdict.word()))?;
    Ok(())
}

fn pad(id: &str) -> String {
    format!("{id:<4}")
}

fn counts(judged: &[(Row, Verdict)]) -> String {
    let count = |word: &str| judged.iter().filter(|(_, v)| v.word() == word).count();
    format!(
        "{} rows pass, {} fail, {} do not apply, {} cannot be decided with what is here",
        count("pass"),
        count("fail"),
        count("does-not-apply"),
        count("needs")
    )
}

/// Judges the image of a node that was just built.
///
/// # Errors
/// The rows that fail.
pub fn built(
    context: &Context,
    args: &args::Build,
    node: &NodePlan,
    image: &Arc<Overlay>,
    manifest: &Manifest,
    stock: &Arc<dyn Source>,
) -> Result<(), Failure> {
    let known = Known::read(context, &args.cluster, &node.node)?;
    let manifest = serde_json::to_value(manifest)?;
    let stock = Image::open(Arc::clone(stock))?;
    let image = Image::open(Arc::clone(image) as _)?;
    let evidence = Evidence {
        known: Some(&known),
        manifest: Some(&manifest),
        stock: Some(&stock),
        dir: &args.out,
    };
    let judged = judge(&image, &evidence, &context.catalog()?)?;
    let failed: Vec<String> = judged
        .iter()
        .filter_map(|(row, verdict)| match verdict {
            Verdict::Fail(why) => Some(format!("{}: {why}", row.id)),
            _ => None,
        })
        .collect();
    if !failed.is_empty() {
        return Err(Failure::new(format!(
            "the image fails rows of its verification:\n  {}",
            failed.join("\n  ")
        )));
    }
    context.note(&counts(&judged));
    Ok(())
}
