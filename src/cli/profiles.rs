//! `profiles` and `schema`: what profiles there are, what they come to, what a swap would change.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::args::{self, ProfilesAction};
use super::context::Context;
use super::memo::Memo;
use super::message::{self, Failure, Outcome};
use super::plan::{FIRST_TRY, Remember};
use super::secrets::add_secrets;
use crate::inputs::{self, Reading};
use crate::plan::{NodePlan, Origin, edit_json};
use crate::planner;
use crate::spec::{
    self, ClusterSpec, Inputs, list_words, nearest, parse_base, parse_cluster, resolve_profile,
};

/// `ceil-img profiles`
pub fn profiles(context: &Context, args: &args::Profiles) -> Result<Outcome, Failure> {
    let cluster = if args.file.exists() || args.file != std::path::Path::new("cluster.yaml") {
        inputs::read_cluster(&args.file)?
    } else {
        parse_cluster("<built-in>", FIRST_TRY)?
    };
    match args.action.as_ref().unwrap_or(&ProfilesAction::List) {
        ProfilesAction::List => list(context, &cluster),
        ProfilesAction::Show { name } => show(context, &cluster, name),
        ProfilesAction::Diff { old, new, node } => diff(context, cluster, [old, new], node.as_deref()),
    }
}

fn list(context: &Context, cluster: &ClusterSpec) -> Result<Outcome, Failure> {
    let all = inputs::all_profiles(cluster)?;
    let width = all.keys().map(String::len).max().unwrap_or(0);
    for (name, profile) in &all {
        let description = profile.description.as_deref().unwrap_or("");
        if context.json {
            message::json(&json!({"profile": name, "description": description, "file": profile.file}))?;
        } else {
            message::line(&format!("{name:<width$}  {description}  ({})", profile.file))?;
        }
    }
    Ok(Outcome::Done)
}

/// A profile that is not there is told with the nearest name.
fn known(cluster: &ClusterSpec, name: &str) -> Result<(), Failure> {
    let names = inputs::profile_names(cluster)?;
    if names.contains_key(name) {
        return Ok(());
    }
    let words = || names.keys().map(String::as_str);
    let hint = nearest(name, words()).map_or(String::new(), |n| format!(", did you mean `{n}`?"));
    Err(Failure::new(format!("there is no profile `{name}`{hint}"))
        .hint(format!("the profiles are {}", list_words(words()))))
}

fn show(context: &Context, cluster: &ClusterSpec, name: &str) -> Result<Outcome, Failure> {
    known(cluster, name)?;
    let all = inputs::all_profiles(cluster)?;
    if let Some(value) = resolve_profile(name, &all)? {
        if context.json {
            message::json(&json!({"profile": name, "settings": spec::flat(&value)}))?;
        } else {
            message::line(spec::show(&value).trim_end())?;
        }
    }
    Ok(Outcome::Done)
}

/// What a node of a profile comes to: its settings, and what is done by path.
struct Side {
    settings: BTreeMap<String, String>,
    edits: BTreeMap<String, Value>,
}

fn diff(
    context: &Context,
    mut cluster: ClusterSpec,
    [old, new]: [&str; 2],
    node: Option<&str>,
) -> Result<Outcome, Failure> {
    let index = match node {
        None => 0,
        Some(name) => cluster
            .nodes
            .iter()
            .position(|n| n.name.as_str() == name)
            .ok_or_else(|| {
                let names = || cluster.nodes.iter().map(|n| n.name.as_str());
                let hint = nearest(name, names()).map_or(String::new(), |n| format!(", did you mean `{n}`?"));
                Failure::new(format!("{}: there is no node `{name}`{hint}", cluster.file))
            })?,
    };
    let mut sides = Vec::new();
    let mut first: Option<Inputs> = None;
    for profile in [old, new] {
        known(&cluster, profile)?;
        let node = &mut cluster.nodes[index];
        profile.clone_into(&mut node.profile);
        node.profile_origin = Origin {
            file: "profiles diff".to_owned(),
            line: 0,
        };
        let node = &cluster.nodes[index];
        let memo = Memo::open(&context.cache);
        let reading = Reading {
            memo: &memo,
            reporter: &*context.reporter,
        };
        let mut inputs = inputs::read_inputs(&cluster, &[node], reading)?;
        add_secrets(context, &cluster, &mut inputs, Remember::No)?;
        // What both make up is the same, once it is made.
        if let Some(first) = &first {
            for (name, value) in &first.secrets {
                if inputs.secrets.contains_key(name) {
                    inputs.secrets.insert(name.clone(), value.clone());
                }
            }
        }
        let resolved = inputs.nodes.get(node.name.as_str());
        let settings = resolved.map(|r| spec::flat(&r.value)).unwrap_or_default();
        // A mix-in has no base, and its edits depend on none.
        let base = match resolved.and_then(|r| r.base.as_ref()) {
            Some(_) => None,
            None => Some(parse_base("demo").map_err(Failure::new)?),
        };
        let epoch = planner::epoch(&cluster, context.source_date_epoch()?);
        let plan = planner::plan_node(&cluster, node, &inputs, base.as_ref(), epoch)?;
        let mut edits = edits(&plan);
        let views = planner::views(&cluster, &inputs)?;
        for view in views.iter().filter(|v| v.spec.name == node.name) {
            for wish in planner::wanted_programs(&cluster, view)? {
                edits.insert(format!("program {}", wish.name), Value::Null);
            }
        }
        sides.push(Side { settings, edits });
        first.get_or_insert(inputs);
    }
    let [a, b] = &sides[..] else {
        return Ok(Outcome::Done);
    };
    let mut lines = Vec::new();
    compare("setting", &a.settings, &b.settings, &mut lines, |old, new| {
        (old.clone(), new.clone())
    });
    compare("", &a.edits, &b.edits, &mut lines, |_, _| {
        ("one content".to_owned(), "another".to_owned())
    });
    let outcome = if lines.is_empty() {
        Outcome::Done
    } else {
        Outcome::Different
    };
    for (sign, key, text) in lines {
        if context.json {
            message::json(&json!({"change": sign, "what": key, "value": text}))?;
        } else {
            message::line(format!("{sign} {key}{text}").trim_end())?;
        }
    }
    Ok(outcome)
}

type Line = (&'static str, String, String);

/// `-` what A alone has, `+` what B alone has, `~` what differs.
fn compare<T: PartialEq>(
    kind: &str,
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
    lines: &mut Vec<Line>,
    words: impl Fn(&T, &T) -> (String, String),
) {
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let name = format!("{kind} {key}").trim_start().to_owned();
        let value = |side: &T| {
            if kind.is_empty() {
                String::new()
            } else {
                format!(": {}", words(side, side).0)
            }
        };
        match (old.get(key), new.get(key)) {
            (Some(a), Some(b)) if a == b => {}
            (Some(a), Some(b)) => {
                let (a, b) = words(a, b);
                lines.push(("~", name, format!(": {a} -> {b}")));
            }
            (Some(a), None) => lines.push(("-", name, value(a))),
            (None, Some(b)) => lines.push(("+", name, value(b))),
            (None, None) => {}
        }
    }
}

/// What is done, by kind and path, without the place that asked for it. Of the same twice, both count.
fn edits(plan: &NodePlan) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    for edit in &plan.edits {
        let mut value = edit_json(edit);
        if let Some(map) = value.as_object_mut() {
            map.remove("source");
        }
        let word = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let key = format!("{} {}", word("op"), word("at"));
        match out.get_mut(key.trim_end()) {
            None => {
                out.insert(key.trim_end().to_owned(), json!([value]));
            }
            Some(Value::Array(list)) => list.push(value),
            Some(_) => {}
        }
    }
    out
}

/// `ceil-img schema`
pub fn schema(args: &args::SchemaArgs) -> Result<Outcome, Failure> {
    let text = if args.what == "cluster" {
        spec::cluster_schema()
    } else {
        spec::profile_schema()
    };
    message::line(text.trim_end())?;
    Ok(Outcome::Done)
}
