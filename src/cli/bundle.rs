//! `export join-bundle`: what makes a host that is no Raspberry Pi a node of the cluster, as one archive.

use std::io::{self, BufWriter, Read};
use std::path::Path;

use super::args;
use super::context::{Context, open_content};
use super::message::{self, Failure, Outcome};
use super::plan::{Remember, plan_nodes};
use super::programs;
use crate::base_os::{MODULES_FILE, SYSCTLS_FILE, modules_text, sysctls_text};
use crate::disk::Source;
use crate::emit::Output;
use crate::fetch::FilePool;
use crate::lock::Mode as LockMode;
use crate::plan::{Content, Edit, NodePlan, Op, UnitState};
use crate::planner::KUBERNETES;
use crate::values::Mode;

/// The overlay whose steps make the host join.
const FIRST_BOOT: &str = "overlays/first-boot";

/// Writes the archive: files of Kubernetes, its programs and images, settings of the kernel. Nothing of the node's
/// own overlays, accounts or networks is in it.
///
/// # Errors
/// The node is no agent; its programs cannot be brought; the file cannot be written.
pub fn join_bundle(context: &Context, file: &Path, node: &str, out: &Path) -> Result<Outcome, Failure> {
    let cluster = args::ClusterArgs {
        file: file.to_owned(),
        base: None,
    };
    context.use_lock(&cluster, LockMode::Fill, true)?;
    let planned = plan_nodes(context, &cluster, &[node.to_owned()], Remember::Yes)?;
    let [plan] = &planned.plans[..] else {
        return Ok(Outcome::Done);
    };
    if plan.role != "agent" {
        return Err(Failure::new(format!(
            "{}: node `{node}` has the role `{}`; a bundle is for a node with `role: agent`",
            plan.origin, plan.role
        )));
    }
    let of_kubernetes: Vec<Edit> = plan
        .edits
        .iter()
        .filter(|edit| edit.origin.file == KUBERNETES || edit.origin.file == FIRST_BOOT)
        .cloned()
        .collect();
    if of_kubernetes.is_empty() {
        return Err(Failure::new(format!(
            "{}: the cluster has `distribution: none`, so there is nothing to join",
            plan.origin
        )));
    }
    let brought = planned.programs.of(context, plan)?;
    let mut edits = programs::edits(plan, &brought)?;
    edits.extend(of_kubernetes);
    let output = Output::create(out)?;
    output.keep_private()?;
    write(&output, plan, &edits)
        .map_err(|e| Failure::from(e).while_doing(format!("cannot write `{}`", out.display())))?;
    output.finish()?;
    let mut units: Vec<&str> = plan
        .wishes
        .units
        .iter()
        .filter(|unit| matches!(unit.state, UnitState::Enabled(_)))
        .map(|unit| unit.name.as_str())
        .collect();
    if edits.iter().any(|edit| edit.origin.file == FIRST_BOOT) {
        units.push("ceil-first-boot.target");
    }
    let command = format!(
        "tar -C / -xpf {} && modprobe -a {} && sysctl --system && systemctl daemon-reload && systemctl enable --now {}",
        out.file_name().unwrap_or_default().to_string_lossy(),
        plan.wishes.modules.join(" "),
        units.join(" ")
    );
    if context.json {
        message::json(&serde_json::json!({
            "event": "bundle", "node": plan.node, "file": out.display().to_string(), "command": command,
        }))?;
    } else {
        context.note("the archive holds the token of the cluster; as root on the host that is to join:");
        message::line(&command)?;
    }
    Ok(Outcome::Done)
}

/// The archive, sorted by path, owned by root, with the build epoch as its time.
fn write(output: &Output, plan: &NodePlan, edits: &[Edit]) -> io::Result<()> {
    let mut tar = tar::Builder::new(BufWriter::new(output.file()));
    let modules = modules_text(&plan.wishes.modules).map_err(io::Error::other)?;
    let sysctls = sysctls_text(&plan.wishes.sysctls).map_err(io::Error::other)?;
    let text = |text: &str| Entry::File(Content::inline(text.as_bytes()), Mode(0o644));
    let mut entries = vec![
        (MODULES_FILE.to_owned(), text(&modules)),
        (SYSCTLS_FILE.to_owned(), text(&sysctls)),
    ];
    for edit in edits {
        match &edit.op {
            Op::Put {
                at,
                content,
                attributes,
                ..
            } => {
                let mode = attributes.mode.unwrap_or(Mode(0o644));
                entries.push((at.path().to_owned(), Entry::File(content.clone(), mode)));
            }
            Op::Dir { at, attributes } => {
                let mode = attributes.mode.unwrap_or(Mode(0o755));
                entries.push((at.path().to_owned(), Entry::Dir(mode)));
            }
            Op::Symlink { at, to, .. } => entries.push((at.path().to_owned(), Entry::Link(to.clone()))),
            _ => {}
        }
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    let pool = FilePool::shared();
    for (path, entry) in entries {
        let name = path.trim_start_matches('/');
        let mut header = tar::Header::new_gnu();
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(u64::try_from(plan.epoch.secs).unwrap_or(0));
        match entry {
            Entry::File(content, mode) => {
                header.set_mode(mode.0.into());
                header.set_size(content.len());
                let source = open_content(&pool, &content);
                tar.append_data(
                    &mut header,
                    name,
                    Reading {
                        source: &*source,
                        at: 0,
                    },
                )?;
            }
            Entry::Dir(mode) => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(mode.0.into());
                header.set_size(0);
                tar.append_data(&mut header, format!("{name}/"), io::empty())?;
            }
            Entry::Link(to) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                header.set_size(0);
                tar.append_link(&mut header, name, to)?;
            }
        }
    }
    let buffer = tar.into_inner()?;
    buffer
        .into_inner()
        .map(drop)
        .map_err(io::IntoInnerError::into_error)
}

enum Entry {
    File(Content, Mode),
    Dir(Mode),
    Link(String),
}

/// A source read from its beginning on.
struct Reading<'a> {
    source: &'a dyn Source,
    at: u64,
}

impl Read for Reading<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.source.len() - self.at).unwrap_or(usize::MAX);
        let n = buf.len().min(left);
        self.source.read_at(self.at, &mut buf[..n])?;
        self.at += n as u64;
        Ok(n)
    }
}
