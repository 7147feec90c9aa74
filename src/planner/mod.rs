//! From wishes to a plan: every edit with its bytes known by digest, in order, without contradictions.
//!
//! All of it is pure: the same cluster file and inputs give the same plan on every machine. This room must not
//! read files, open images or use the network.

mod conflicts;
mod debs;
mod gates;
mod kubernetes;
mod overlays;
mod programs;
mod secrets;
mod variables;
mod view;
mod wireguard;
mod wishes;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::base_os::{self, BaseFacts, Resolved};
use crate::plan::{
    Attributes, BaseRef, ClusterPlan, Content, DigestParts, Edit, Identity, NodePlan, Op, Origin, plan_digest,
};
use crate::secrets::Secret;
use crate::spec::{ClusterSpec, EditSpec, Inputs, NodeSpec, OwnerRules, Payload, TreeKind, Wish};
use crate::template::{self, TemplateError};
use crate::values::{ImagePath, Mode, Owner, Timestamp, VolumeName};

pub use gates::{Gate, Release, of as gates};
pub use kubernetes::{MANIFESTS, kubeconfigs, version as kubernetes_version};
pub use programs::{ProgramWish, wanted as wanted_programs};
pub use secrets::needed as needed_secrets;
pub use view::{Port, View, all as views};
pub use wireguard::{CLIENT_OVERLAY, client_files as wireguard_clients};

/// The origin of edits that Kubernetes makes.
pub const KUBERNETES: &str = "<kubernetes>";

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Neither the node nor its profile names a base.
    #[error(
        "{origin}: node `{node}` has no base image; name one as `base:` in its profile `{profile}`, in the node, or with `--base`"
    )]
    NoBase {
        /// The node's place.
        origin: Origin,
        /// The node.
        node: String,
        /// Its profile.
        profile: String,
    },
    /// The inputs do not hold what an edit names.
    #[error("{origin}: `{what}` was not read")]
    NotRead {
        /// The edit.
        origin: Origin,
        /// The missing input.
        what: String,
    },
    /// A template fails.
    #[error("{origin}: cannot render the template: {source}")]
    Template {
        /// The edit.
        origin: Origin,
        /// Where and why.
        source: TemplateError,
    },
    /// A file of a tree has a name that an image cannot hold.
    #[error("{origin}: {why}")]
    BadPath {
        /// The edit.
        origin: Origin,
        /// What is wrong.
        why: String,
    },
    /// Two edits make one path.
    #[error("{second}: `{path}` is already made by the edit at {first}; a path can be made only once")]
    Twice {
        /// The path.
        path: String,
        /// Who made it first.
        first: Origin,
        /// Who makes it again.
        second: Origin,
    },
    /// One edit makes a file where another needs a directory.
    #[error("{second}: `{path}` is a file by the edit at {first}, and a directory is wanted there")]
    FileAndDir {
        /// The path.
        path: String,
        /// Who made it first.
        first: Origin,
        /// Who contradicts.
        second: Origin,
    },
    /// The base has no mechanism for a wish.
    #[error("{origin}: {why}")]
    Unsupported {
        /// The node.
        origin: Origin,
        /// What is not possible, and what is.
        why: String,
    },
}

impl PlanError {
    fn not_read(origin: &Origin, what: impl fmt::Display) -> Self {
        Self::NotRead {
            origin: origin.clone(),
            what: what.to_string(),
        }
    }

    fn template(origin: &Origin, source: TemplateError) -> Self {
        Self::Template {
            origin: origin.clone(),
            source,
        }
    }

    fn bad_path(origin: &Origin, why: impl fmt::Display) -> Self {
        Self::BadPath {
            origin: origin.clone(),
            why: why.to_string(),
        }
    }

    fn unsupported(origin: &Origin, why: impl fmt::Display) -> Self {
        Self::Unsupported {
            origin: origin.clone(),
            why: why.to_string(),
        }
    }
}

/// The build epoch: that of the environment (`SOURCE_DATE_EPOCH`), else the cluster file's, else
/// [`ClusterSpec::EPOCH`].
#[must_use]
pub fn epoch(cluster: &ClusterSpec, environment: Option<Timestamp>) -> Timestamp {
    environment.or(cluster.epoch).unwrap_or(ClusterSpec::EPOCH)
}

/// Plans every node of a cluster.
///
/// # Errors
/// [`PlanError`] of the first node that cannot be planned.
pub fn plan(cluster: &ClusterSpec, inputs: &Inputs, epoch: Timestamp) -> Result<ClusterPlan, PlanError> {
    Ok(ClusterPlan {
        cluster: cluster.name.to_string(),
        nodes: cluster
            .nodes
            .iter()
            .map(|node| plan_node(cluster, node, inputs, None, epoch))
            .collect::<Result<_, _>>()?,
    })
}

/// Plans one node, with another base than the files name if `base` is given.
///
/// # Errors
/// [`PlanError`].
pub fn plan_node(
    cluster: &ClusterSpec,
    node: &NodeSpec,
    inputs: &Inputs,
    base: Option<&BaseRef>,
    epoch: Timestamp,
) -> Result<NodePlan, PlanError> {
    let views = view::all(cluster, inputs)?;
    let view = views
        .iter()
        .find(|v| v.spec.name == node.name)
        .ok_or_else(|| PlanError::not_read(&node.origin, format!("settings of node {}", node.name)))?;
    let resolved = view.resolved;
    let base = base
        .or(resolved.base.as_ref())
        .ok_or_else(|| PlanError::NoBase {
            origin: node.origin.clone(),
            node: node.name.to_string(),
            profile: node.profile.clone(),
        })?
        .clone();
    let mut variables = variables::of(cluster, &views, view, epoch);
    variables["wireguard"] = wireguard::tunnel(cluster, inputs, &views)?;
    let names = Names::new(variables, secrets::of_node(cluster, inputs, view));
    let own = plan_with(&resolved.edits, inputs, &names)?;
    let kubernetes = kubernetes::files(cluster, inputs, &views, view)?;
    let mut edits = overlays::edits(&resolved.settings, inputs, &names, &own)?;
    let mut wishes = wishes::of(cluster, inputs, &views, view)?;
    if let Some(files) = kubernetes {
        let origin = Origin {
            file: KUBERNETES.to_owned(),
            line: 0,
        };
        let made = files
            .edits(&origin)
            .map_err(|e| PlanError::bad_path(&origin, e))?;
        // What the node puts itself is left to it.
        edits.extend(made.into_iter().filter(|edit| !overlays::made_by(&own, &edit.op)));
        wishes::add_kernel(&mut wishes, &files);
    }
    edits.extend(programs::archives(cluster, inputs, view)?);
    edits.extend(debs::edits(inputs, view)?);
    edits.extend(kubernetes::addons(cluster, inputs, &views, view, &names)?);
    edits.extend(own);
    let domain = cluster.domain.clone();
    let address = view.port().address.clone();
    let programs = inputs
        .programs
        .get(node.name.as_str())
        .cloned()
        .unwrap_or_default();
    let digest = plan_digest(&DigestParts {
        cluster: &view.cluster,
        node: node.name.as_str(),
        hostname: node.hostname.as_str(),
        domain: domain.as_ref().map(|d| d.as_str()),
        address: &address,
        wishes: &wishes,
        base: &base,
        programs: &programs,
        edits: &edits,
        reserve: resolved.reserve,
        epoch,
    });
    let short: String = digest.hex().chars().take(12).collect();
    Ok(NodePlan {
        cluster: view.cluster.clone(),
        node: node.name.to_string(),
        profile: node.profile.clone(),
        role: view.role().word(),
        origin: node.origin.clone(),
        base,
        edits,
        programs,
        identity: Identity {
            hostname: node.hostname.clone(),
            domain,
            instance_id: format!("{}-{}-{short}", view.cluster, node.name),
            address,
        },
        wishes,
        reserve: resolved.reserve,
        epoch,
        output: resolved.output,
        digest,
    })
}

/// What templates may use.
pub(crate) struct Names {
    variables: Value,
    secrets: template::Secrets,
}

impl Names {
    fn new(variables: Value, secrets: BTreeMap<String, Secret>) -> Self {
        let secrets = secrets
            .into_iter()
            .map(|(name, value)| (name, value.reveal().to_owned().into()))
            .collect();
        Self {
            variables,
            secrets: Arc::new(secrets),
        }
    }

    /// Renders a template; a text that used a secret is a secret.
    fn render(&self, file: &str, text: &str, origin: &Origin) -> Result<Content, PlanError> {
        let rendered = template::render_with(file, text, &self.variables, &self.secrets)
            .map_err(|source| PlanError::template(origin, source))?;
        Ok(if rendered.secret {
            Content::secret(rendered.text.as_bytes())
        } else {
            Content::inline(rendered.text.as_bytes())
        })
    }
}

/// Plans a stand-alone list of edits. Templates see the names of `variables` only.
///
/// # Errors
/// [`PlanError`].
pub fn plan_edits(specs: &[EditSpec], inputs: &Inputs, variables: &Value) -> Result<Vec<Edit>, PlanError> {
    plan_with(specs, inputs, &Names::new(variables.clone(), BTreeMap::new()))
}

fn plan_with(specs: &[EditSpec], inputs: &Inputs, names: &Names) -> Result<Vec<Edit>, PlanError> {
    let mut edits = Vec::new();
    let mut from_tree = Vec::new();
    for spec in specs {
        expand(spec, inputs, names, &mut edits)?;
        from_tree.resize(edits.len(), matches!(spec.wish, Wish::Tree { .. }));
    }
    conflicts::check(&edits, &from_tree)?;
    Ok(edits)
}

/// The whole list of edits of a node: its identity by the mechanism of the base, its programs, then its own. Without
/// facts about the base the identity stays open, and a note says so. `programs` are the edits that put the programs
/// of the plan; what the node puts itself at the same place counts.
///
/// # Errors
/// [`PlanError::Unsupported`] when the base has no known way to carry the node's address.
pub fn resolve(
    plan: &NodePlan,
    facts: Option<&BaseFacts>,
    programs: Vec<Edit>,
) -> Result<Resolved, PlanError> {
    let mut edits = programs;
    edits.retain(|edit| !overlays::made_by(&plan.edits, &edit.op));
    edits.extend(plan.edits.iter().cloned());
    let Some(facts) = facts else {
        return Ok(Resolved {
            edits,
            notes: vec![
                "how the host name and the address are set is decided when the base image is opened"
                    .to_owned(),
            ],
        });
    };
    let mut resolved =
        base_os::identity_edits(plan, facts).map_err(|why| PlanError::unsupported(&plan.origin, why))?;
    resolved.edits.extend(edits);
    Ok(resolved)
}

fn expand(spec: &EditSpec, inputs: &Inputs, names: &Names, edits: &mut Vec<Edit>) -> Result<(), PlanError> {
    let origin = &spec.origin;
    let op = match &spec.wish {
        Wish::Op(op) => op.clone(),
        Wish::Put {
            at,
            payload,
            attributes,
            xattrs,
            sparse,
        } => Op::Put {
            at: at.clone(),
            content: content(payload, inputs, names, origin)?,
            attributes: attributes.clone(),
            xattrs: xattrs.clone(),
            sparse: *sparse,
        },
        Wish::Append { at, payload } => Op::Append {
            at: at.clone(),
            content: content(payload, inputs, names, origin)?,
        },
        Wish::Tree {
            at,
            from,
            owner,
            owners,
        } => return expand_tree(at, from, *owner, owners, inputs, origin, edits),
    };
    edits.push(Edit {
        op,
        origin: origin.clone(),
    });
    Ok(())
}

fn content(payload: &Payload, inputs: &Inputs, names: &Names, origin: &Origin) -> Result<Content, PlanError> {
    match payload {
        Payload::Inline(content) => Ok(content.clone()),
        Payload::File(path) => inputs
            .files
            .get(path)
            .cloned()
            .ok_or_else(|| PlanError::not_read(origin, path.display())),
        Payload::Template(path) => {
            let text = inputs
                .templates
                .get(path)
                .ok_or_else(|| PlanError::not_read(origin, path.display()))?;
            names.render(&path.display().to_string(), text, origin)
        }
    }
}

/// Lays a tree over a directory. Files get mode 0644 or 0755 and owner 0:0 unless a rule says otherwise, so that
/// neither umask nor user of the host matter. Directories that the image has keep what they have: `root` is 0700
/// and `tmp` is 1777 there, which no checkout remembers.
fn expand_tree(
    at: &ImagePath,
    from: &Path,
    owner: Option<Owner>,
    owners: &OwnerRules,
    inputs: &Inputs,
    origin: &Origin,
    edits: &mut Vec<Edit>,
) -> Result<(), PlanError> {
    let tree = inputs
        .trees
        .get(from)
        .ok_or_else(|| PlanError::not_read(origin, from.display()))?;
    // FAT has neither modes nor owners nor symlinks.
    let fat = at.volume == Some(VolumeName::Boot);
    for entry in &tree.entries {
        let bad = |why: String| PlanError::bad_path(origin, why);
        let place: ImagePath = at
            .join(&entry.path)
            .to_string()
            .parse()
            .map_err(|e: crate::values::ImagePathError| bad(e.to_string()))?;
        let (own_mode, own_owner) = owners.lookup(&entry.path);
        let (tree_mode, tree_owner) = tree.owners.lookup(&entry.path);
        let mode = own_mode.or(tree_mode).filter(|_| !fat);
        let ruled = own_owner.or(tree_owner).or(owner).filter(|_| !fat);
        let attributes = |mode: Option<Mode>, owner: Option<Owner>| Attributes {
            mode: mode.filter(|_| !fat),
            owner: owner.filter(|_| !fat),
            mtime: None,
        };
        let op = match &entry.kind {
            // Only overlays have templates.
            TreeKind::Template { .. } => continue,
            TreeKind::Dir => Op::Dir {
                at: place,
                attributes: attributes(mode, ruled),
            },
            TreeKind::Symlink(target) => {
                if fat {
                    return Err(bad(format!(
                        "`{}` is a symlink, which the FAT of the boot volume cannot hold",
                        from.join(&entry.path).display()
                    )));
                }
                Op::Symlink {
                    at: place,
                    to: target.clone(),
                    attributes: attributes(None, ruled.or(Some(Owner::default()))),
                }
            }
            TreeKind::File { content, executable } => Op::Put {
                at: place,
                content: content.clone(),
                attributes: attributes(
                    mode.or(Some(Mode(if *executable { 0o755 } else { 0o644 }))),
                    ruled.or(Some(Owner::default())),
                ),
                xattrs: Vec::new(),
                sparse: false,
            },
        };
        edits.push(Edit {
            op,
            origin: origin.clone(),
        });
    }
    Ok(())
}
