//! Programs and archives of images of nodes: looked up by catalog and lock, brought, and put.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use serde_json::json;

use super::context::Context;
use super::locked::Brought;
use super::message::{self, Failure};
use super::plan::say_fetched;
use crate::artifacts::{Artifact, ArtifactCatalog, ArtifactError, Install};
use crate::catalog::Catalog;
use crate::disk::Source;
use crate::emit::Input;
use crate::plan::{BasePlace, Edit, NodePlan, Op, Program};
use crate::planner::{self, ProgramWish};
use crate::spec::{ClusterSpec, Inputs, NodeSpec, Resolved};
use crate::values::{Arch, DebName, ELF_HEAD, ImagePath, Mode, VolumeName, check_machine};

/// The catalog of artifacts of a cluster file, and what was brought of it in this run.
#[derive(Debug)]
pub struct Programs {
    catalog: ArtifactCatalog,
    brought: RefCell<BTreeMap<(String, String, Arch), Rc<Brought>>>,
}

impl Programs {
    /// Over the catalog that counts for a cluster file.
    ///
    /// # Errors
    /// The user's own catalog is wrong.
    pub fn open(context: &Context, cluster_file: &Path) -> Result<Self, Failure> {
        Ok(Self {
            catalog: context.artifacts(cluster_file)?,
            brought: RefCell::default(),
        })
    }

    /// Looks up what the nodes need. Nothing is fetched.
    ///
    /// # Errors
    /// The catalog has no such thing, or nothing says which processor a node has.
    pub fn add(
        &self,
        context: &Context,
        cluster: &ClusterSpec,
        nodes: &[&NodeSpec],
        inputs: &mut Inputs,
    ) -> Result<(), Failure> {
        let mut found = BTreeMap::new();
        let bases = context.catalog()?;
        for view in planner::views(cluster, inputs)? {
            if nodes.iter().all(|node| node.name != view.spec.name) {
                continue;
            }
            let arch = node_arch(&bases, view.resolved);
            let mut programs = Vec::new();
            for wish in planner::wanted_programs(cluster, &view)? {
                let arch = arch.ok_or_else(|| {
                    Failure::new(format!(
                        "{}: node `{}` gets `{}`, and nothing says which architecture it has",
                        wish.origin, view.spec.name, wish.name
                    ))
                    .hint("give it `arch: arm64`, `armhf` or `amd64`, or a base of the catalog")
                })?;
                let artifact = self
                    .look_up(context, &wish, arch)
                    .map_err(|e| e.while_doing(format!("{}: node `{}`", wish.origin, view.spec.name)))?;
                programs.push(program(&artifact, &wish));
            }
            found.insert(view.spec.name.to_string(), programs);
        }
        inputs.programs = found;
        Ok(())
    }

    fn look_up(&self, context: &Context, wish: &ProgramWish, arch: Arch) -> Result<Artifact, Failure> {
        let first = context.artifact_named(&self.catalog, &wish.name, arch);
        let result = match (&first, &wish.or) {
            (Err(ArtifactError::UnknownVersion { .. }), Some(other)) => {
                context.artifact_named(&self.catalog, other, arch)
            }
            _ => first,
        };
        result.map_err(|e| {
            let unknown = !matches!(e, ArtifactError::File { .. });
            let failure = Failure::from(e);
            if unknown {
                failure.hint("a file `artifacts.yaml` beside the cluster file adds to the catalog")
            } else {
                failure
            }
        })
    }

    /// Brings one program of a plan, through the lock and the cache; once in a run.
    ///
    /// # Errors
    /// It cannot be fetched, or is not what it should be.
    pub fn bring(&self, context: &Context, program: &Program) -> Result<Rc<Brought>, Failure> {
        let key = (program.name.clone(), program.version.clone(), program.arch);
        if let Some(there) = self.brought.borrow().get(&key) {
            return Ok(Rc::clone(there));
        }
        let brought = self
            .artifact(program)
            .and_then(|artifact| context.bring_artifact(&artifact))
            .map_err(|e| e.while_doing(program.origin.to_string()))?;
        let brought = Rc::new(brought);
        self.brought.borrow_mut().insert(key, Rc::clone(&brought));
        Ok(brought)
    }

    fn artifact(&self, program: &Program) -> Result<Artifact, Failure> {
        Ok(self
            .catalog
            .lookup(&program.name, Some(&program.version), program.arch)?
            .clone())
    }

    /// Brings the programs of a node.
    ///
    /// # Errors
    /// As [`Self::bring`].
    pub fn of(&self, context: &Context, node: &NodePlan) -> Result<Vec<Rc<Brought>>, Failure> {
        node.programs
            .iter()
            .map(|program| self.bring(context, program))
            .collect()
    }

    /// The edits of a node's programs when all of them are in the cache; `None` when one would have to be fetched or
    /// unpacked.
    ///
    /// # Errors
    /// The cache cannot be read.
    pub fn at_hand(&self, context: &Context, node: &NodePlan) -> Result<Option<Vec<Edit>>, Failure> {
        let mut all = Vec::new();
        for program in &node.programs {
            let Some(brought) = context.artifact_at_hand(&self.artifact(program)?)? else {
                return Ok(None);
            };
            all.push(Rc::new(brought));
        }
        edits(node, &all).map(Some)
    }
}

fn program(artifact: &Artifact, wish: &ProgramWish) -> Program {
    let to = artifact.install.iter().map(|install| match install {
        Install::File { to, .. } | Install::Member { to, .. } => to.clone(),
        Install::Tree { to, .. } => format!("{}/", to.trim_end_matches('/')),
    });
    Program {
        name: artifact.name.clone(),
        version: artifact.version.clone(),
        arch: artifact.arch,
        url: artifact.url.clone(),
        sha256: artifact.sha256.clone(),
        size: artifact.size,
        to: to.collect(),
        origin: wish.origin.clone(),
    }
}

/// The edits that put what was brought for the programs of a node.
///
/// # Errors
/// The catalog names a path that an image cannot have.
pub fn edits(node: &NodePlan, brought: &[Rc<Brought>]) -> Result<Vec<Edit>, Failure> {
    let mut edits = Vec::new();
    for (program, brought) in node.programs.iter().zip(brought) {
        for file in &brought.files {
            edits.push(Edit {
                op: Op::of_root(
                    ImagePath::on(VolumeName::Root, &file.to)?,
                    file.content.clone(),
                    Mode(file.mode),
                ),
                origin: program.origin.clone(),
            });
        }
    }
    Ok(edits)
}

/// What was brought, for the manifest (F105).
pub fn inputs(brought: &[Rc<Brought>]) -> impl Iterator<Item = Input> + '_ {
    brought.iter().map(|brought| Input {
        role: "artifact",
        name: brought.artifact.name.clone(),
        version: Some(brought.artifact.version.clone()),
        arch: Some(brought.artifact.arch.word().to_owned()),
        digest: brought.file.digest.clone(),
        size: brought.file.len,
        download_digest: None,
        verified: Some(brought.verified.word().to_owned()),
    })
}

/// Whether every program that is put is for the processor of the image (F011).
///
/// # Errors
/// The first that is not.
pub fn check_machines(
    edits: &[Edit],
    arch: Arch,
    open: &dyn Fn(&crate::plan::Content) -> std::sync::Arc<dyn Source>,
) -> Result<(), Failure> {
    for edit in edits {
        let Op::Put {
            at,
            content,
            attributes,
            ..
        } = &edit.op
        else {
            continue;
        };
        let name = at.path().rsplit('/').next().unwrap_or_default();
        if let Some(deb) = DebName::parse(name) {
            deb.fits(arch)
                .map_err(|e| Failure::from(e).while_doing(edit.origin.to_string()))?;
        }
        if attributes.mode.is_none_or(|mode| mode.0 & 0o111 == 0) {
            continue;
        }
        let source = open(content);
        let mut head = [0; ELF_HEAD];
        let n = usize::try_from(source.len()).unwrap_or(ELF_HEAD).min(ELF_HEAD);
        source
            .read_at(0, &mut head[..n])
            .map_err(|e| Failure::from(e).while_doing(format!("{}: cannot read `{at}`", edit.origin)))?;
        check_machine(&at.to_string(), &head[..n], arch)
            .map_err(|e| Failure::from(e).while_doing(edit.origin.to_string()))?;
    }
    Ok(())
}

/// `fetch`: brings the programs of the nodes, each once, and says so.
///
/// # Errors
/// As [`Programs::bring`].
pub fn fetch(context: &Context, programs: &Programs, nodes: &[NodePlan]) -> Result<(), Failure> {
    let mut done: Vec<(&str, &str, Arch)> = Vec::new();
    for program in nodes.iter().flat_map(|node| &node.programs) {
        let key = (program.name.as_str(), program.version.as_str(), program.arch);
        if done.contains(&key) {
            continue;
        }
        done.push(key);
        let here = programs.bring(context, program)?;
        let of = &here.artifact;
        if context.json {
            let files: Vec<_> = here
                .files
                .iter()
                .map(|f| {
                    json!({"path": f.to, "mode": format!("{:04o}", f.mode), "size": f.content.len(),
                        "digest": f.held.digest})
                })
                .collect();
            message::json(&json!({
                "event": "fetched", "artifact": of.name, "version": of.version, "arch": of.arch,
                "digest": here.file.digest, "size": here.file.len, "verified": here.verified,
                "from_cache": here.file.from_cache, "files": files,
            }))?;
        } else {
            let name = format!("{} {} {}", of.name, of.version, of.arch);
            say_fetched(&here.file.digest, here.verified, &name, here.file.from_cache)?;
        }
    }
    Ok(())
}

/// The architecture of a node: what it says, or that of its base in the catalog.
fn node_arch(bases: &Catalog, node: &Resolved) -> Option<Arch> {
    if let Some(arch) = &node.settings.arch {
        return Some(arch.value);
    }
    match node.base.as_ref().map(|base| &base.place) {
        // It has no programs of its own that would say.
        Some(BasePlace::Name(name)) if name == "demo" => Some(Arch::Arm64),
        Some(BasePlace::Name(name)) => bases.lookup(name).ok().map(|e| e.arch),
        _ => None,
    }
}
