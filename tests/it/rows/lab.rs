//! A node built in memory from a cluster file, and its image spoilt and judged.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use ceil_img::base_os::probe;
use ceil_img::catalog::Catalog;
use ceil_img::demo;
use ceil_img::disk::{Bytes, Source};
use ceil_img::edit::{Places, apply};
use ceil_img::fs::{Attrs, Time, show};
use ceil_img::image::Image;
use ceil_img::inputs::{NoMemo, Reading, Resolver, SecretFile, read_cluster, read_inputs};
use ceil_img::plan::{BasePlace, BaseRef, Content, Origin};
use ceil_img::planner;
use ceil_img::report::NoReport;
use ceil_img::rows::{Case, Node, Row, Verdict, all};
use ceil_img::spec::{ClusterSpec, Distribution, Inputs};
use ceil_img::values::{Arch, VolumeName};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::pipeline::{EPOCH, Raw};
use crate::support::bases;

/// A node to be built.
pub struct Recipe {
    /// What it is called in the table of spoilt images.
    pub name: &'static str,
    /// The family of its base, or `demo`.
    pub family: &'static str,
    /// Name of the base for the cluster file; the node's own without one.
    pub base: Option<&'static str>,
    /// The node.
    pub node: &'static str,
    /// The cluster file.
    pub cluster: &'static str,
    /// Further files of its folder.
    pub files: &'static [(&'static str, &'static str)],
    /// What is done to the base beforehand.
    pub prepare: fn(&mut Spoilt),
    /// Programs that the manifest names, with their versions.
    pub programs: &'static [(&'static str, &'static str)],
}

/// An image that can be spoilt, with its manifest.
pub struct Spoilt {
    pub image: Image,
    pub manifest: Value,
}

const NOW: Time = Time {
    secs: 1_735_689_600,
    nanos: 0,
};

fn attrs(mode: Option<u16>) -> Attrs {
    Attrs {
        mode,
        owner: None,
        mtime: None,
        now: NOW,
    }
}

/// `boot:/x`, or a path of the root volume.
fn place(path: &str) -> (VolumeName, &str) {
    match path.strip_prefix("boot:") {
        Some(rest) => (VolumeName::Boot, rest),
        None => (VolumeName::Root, path),
    }
}

impl Spoilt {
    fn of(image: Image) -> Self {
        Self {
            image,
            manifest: Value::Null,
        }
    }

    /// The text of a file.
    pub fn read(&self, path: &str) -> String {
        let (name, path) = place(path);
        let volume = self.image.volume(name).unwrap();
        let bytes = ceil_img::fs::tree::read_small(volume, path.as_bytes(), 1 << 20)
            .unwrap_or_else(|e| panic!("{path}: {e}"));
        String::from_utf8(bytes).unwrap()
    }

    /// Whether a name is there.
    pub fn is_there(&self, path: &str) -> bool {
        let (name, path) = place(path);
        let volume = self.image.volume(name).unwrap();
        volume.stat(path.as_bytes()).is_ok_and(|stat| stat.is_some())
    }

    /// Names in a folder of the root volume.
    pub fn names(&self, dir: &str) -> Vec<String> {
        let volume = self.image.volume(VolumeName::Root).unwrap();
        let entries = volume.read_dir(dir.as_bytes()).unwrap();
        entries.iter().map(|entry| show(&entry.name)).collect()
    }

    /// Writes a file; folders above it are made.
    pub fn put(&mut self, path: &str, text: impl AsRef<[u8]>) {
        let (name, path) = place(path);
        let volume = self.image.volume_mut(name).unwrap();
        for (at, _) in path.match_indices('/').skip(1) {
            let dir = &path.as_bytes()[..at];
            if volume.stat(dir).unwrap().is_none() {
                volume.make_dir(dir, &attrs(None)).unwrap();
            }
        }
        let content = Bytes::shared(text.as_ref());
        volume
            .put_file(path.as_bytes(), &content, false, &attrs(None))
            .unwrap();
    }

    /// Replaces words of a file, which must be there.
    pub fn swap(&mut self, path: &str, old: &str, new: &str) {
        let text = self.read(path);
        assert!(text.contains(old), "{path} lacks {old:?}:\n{text}");
        self.put(path, text.replace(old, new));
    }

    /// Adds to a file.
    pub fn add(&mut self, path: &str, text: &str) {
        let all = self.read(path) + text;
        self.put(path, all);
    }

    pub fn remove(&mut self, path: &str) {
        let (name, path) = place(path);
        self.image
            .volume_mut(name)
            .unwrap()
            .remove(path.as_bytes(), true, NOW)
            .unwrap_or_else(|e| panic!("{path}: {e}"));
    }

    /// Moves a name of the root volume.
    pub fn rename(&mut self, from: &str, to: &str) {
        let volume = self.image.volume_mut(VolumeName::Root).unwrap();
        volume.rename(from.as_bytes(), to.as_bytes(), NOW).unwrap();
    }

    pub fn chmod(&mut self, path: &str, mode: u16) {
        let (name, path) = place(path);
        let volume = self.image.volume_mut(name).unwrap();
        volume.set_attrs(path.as_bytes(), &attrs(Some(mode))).unwrap();
    }

    /// Gives a file an old time.
    pub fn age(&mut self, path: &str) {
        let (name, path) = place(path);
        let old = Attrs {
            mtime: Some(Time { secs: 1000, nanos: 0 }),
            ..attrs(None)
        };
        self.image
            .volume_mut(name)
            .unwrap()
            .set_attrs(path.as_bytes(), &old)
            .unwrap();
    }

    pub fn link(&mut self, path: &str, to: &str) {
        let (name, path) = place(path);
        let volume = self.image.volume_mut(name).unwrap();
        if volume.stat(path.as_bytes()).unwrap().is_some() {
            volume.remove(path.as_bytes(), true, NOW).unwrap();
        }
        volume
            .symlink(path.as_bytes(), to.as_bytes(), &attrs(None))
            .unwrap();
    }

    fn finish(&mut self) -> Arc<dyn Source> {
        self.image.commit().unwrap();
        self.image.overlay.clone()
    }
}

/// A node, built.
pub struct Lab {
    /// Payloads are read from here.
    _dir: Option<TempDir>,
    cluster: ClusterSpec,
    inputs: Inputs,
    node: String,
    base: BaseRef,
    stock: Arc<dyn Source>,
    built: Arc<dyn Source>,
    manifest: Value,
    authority: Option<String>,
    catalog: Catalog,
}

fn origin() -> Origin {
    Origin {
        file: "test".to_owned(),
        line: 1,
    }
}

/// The start of a program.
pub fn elf(arch: Arch) -> Vec<u8> {
    let (class, machine) = match arch {
        Arch::Arm64 => (2, 183),
        Arch::Armhf => (1, 40),
        Arch::Amd64 => (2, 62),
    };
    let mut bytes = b"\x7fELF\0\x01\x01".to_vec();
    bytes[4] = class;
    bytes.resize(64, 0);
    bytes[18] = machine;
    bytes
}

fn stock(family: &str) -> Option<Arc<dyn Source>> {
    if family == "demo" {
        return Some(demo::image().unwrap());
    }
    Some(Raw::open(&bases::base(family)?.path))
}

/// A stock image after something was done to it.
pub fn prepared(family: &str, prepare: fn(&mut Spoilt)) -> Option<Arc<dyn Source>> {
    let mut base = Spoilt::of(Image::open(stock(family)?).unwrap());
    prepare(&mut base);
    Some(base.finish())
}

/// Reads a cluster with its inputs and secrets; what only a user knows gets some value.
pub fn read(dir: &Path) -> (ClusterSpec, Inputs) {
    let cluster = read_cluster(&dir.join("cluster.yaml")).unwrap();
    let nodes: Vec<_> = cluster.nodes.iter().collect();
    let reading = Reading {
        memo: &NoMemo,
        reporter: &NoReport,
    };
    let mut inputs = read_inputs(&cluster, &nodes, reading).unwrap();
    let needed = planner::needed_secrets(&cluster, &inputs).unwrap();
    let mut file = SecretFile::open(&dir.join("secrets.yaml")).unwrap();
    let mut count = 0u64;
    let mut fill = |buf: &mut [u8]| {
        for chunk in buf.chunks_mut(8) {
            count += 1;
            let bytes = count.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    };
    for (name, kind) in needed {
        let mut outside = Resolver {
            variable: &|_| None,
            fill: &mut fill,
        };
        let value = file
            .store
            .get(&name, kind, &mut outside)
            .unwrap_or_else(|_| ceil_img::secrets::Secret::new("a long passphrase"));
        inputs.secrets.insert(name, value);
    }
    (cluster, inputs)
}

impl Recipe {
    /// Builds it; `None` (after a visible word) when a tool to make the base is missing.
    pub fn build(&self) -> Option<Lab> {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in self.files.iter().chain(&[("cluster.yaml", self.cluster)]) {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::write(dir.path().join("program"), elf(Arch::Arm64)).unwrap();
        let (cluster, inputs) = read(dir.path());
        let base = prepared(self.family, self.prepare)?;
        let mut lab = Lab::build(
            Some(dir),
            cluster,
            inputs,
            self.node,
            self.base.unwrap_or(self.family),
            base,
        );
        lab.manifest["inputs"] = self
            .programs
            .iter()
            .map(|(name, version)| json!({"role": "program", "name": name, "version": version}))
            .collect();
        Some(lab)
    }
}

impl Lab {
    /// Builds a node from a stock image.
    pub fn build(
        dir: Option<TempDir>,
        cluster: ClusterSpec,
        inputs: Inputs,
        node: &str,
        base: &str,
        stock: Arc<dyn Source>,
    ) -> Self {
        let base = BaseRef {
            place: BasePlace::Name(base.to_owned()),
            sha256: None,
            sha512: None,
            raw_sha256: None,
            checksum_url: None,
            origin: origin(),
        };
        let spec = cluster.nodes.iter().find(|n| n.name.as_str() == node).unwrap();
        let plan = planner::plan_node(&cluster, spec, &inputs, Some(&base), EPOCH).unwrap();
        let mut image = Image::open(Arc::clone(&stock)).unwrap();
        let facts = probe(
            image.volume(VolumeName::Boot).unwrap(),
            image.volume(VolumeName::Root).unwrap(),
        )
        .unwrap();
        let resolved = planner::resolve(&plan, Some(&facts), Vec::new()).unwrap();
        let places = Places {
            boot_mount: Some(facts.boot_mount.clone()),
            cmdline: facts.cmdline_path.clone().unwrap(),
            config: "/config.txt".to_owned(),
        };
        let applied = apply(
            &mut image,
            &resolved.edits,
            &places,
            plan.reserve.0,
            EPOCH,
            &|content| {
                Ok(match content {
                    Content::Inline { bytes, .. } => Bytes::shared(bytes),
                    Content::File { path, .. } => Raw::open(path),
                })
            },
        )
        .unwrap_or_else(|e| panic!("{node}: {e}"));
        let secrets: Vec<Value> = applied
            .secrets
            .iter()
            .map(|(volume, path)| json!({"path": format!("{volume}:{}", show(path)), "kind": "file", "secret": true}))
            .collect();
        let mut built = Spoilt::of(image);
        Self::programs(&cluster, &inputs, node, facts.arch.unwrap(), &mut built);
        let authority = planner::kubeconfigs(&cluster, &inputs)
            .unwrap()
            .into_iter()
            .find(|(name, _)| *name == plan.cluster)
            .map(|(_, text)| {
                let data: Value = serde_saphyr::from_str(text.reveal()).unwrap();
                let packed = data["clusters"][0]["cluster"]["certificate-authority-data"]
                    .as_str()
                    .unwrap();
                String::from_utf8(base64::engine::general_purpose::STANDARD.decode(packed).unwrap()).unwrap()
            });
        Self {
            _dir: dir,
            node: node.to_owned(),
            base,
            stock,
            built: built.finish(),
            manifest: json!({
                "cluster": plan.cluster, "node": plan.node, "inputs": [], "changes": secrets,
            }),
            authority,
            catalog: Catalog::builtin().unwrap(),
            cluster,
            inputs,
        }
    }

    /// Stand-ins for what a build downloads.
    fn programs(cluster: &ClusterSpec, inputs: &Inputs, node: &str, arch: Arch, image: &mut Spoilt) {
        let settings = &inputs.nodes[node].settings;
        let member = settings.role.as_ref().is_some_and(|r| r.value.in_cluster());
        let Some(kubernetes) = cluster.kubernetes.as_ref().filter(|_| member) else {
            return;
        };
        if kubernetes.distribution.value == Distribution::K3s {
            image.put("/usr/local/bin/k3s", elf(arch));
            if kubernetes.air_gap != Some(false) {
                image.put(
                    "/var/lib/rancher/k3s/agent/images/k3s-airgap-images.tar.zst",
                    "images",
                );
            }
        }
    }

    /// What becomes of every row on the image, after this was done to it.
    pub fn judge(&self, spoil: impl FnOnce(&mut Spoilt)) -> Vec<(Row, Verdict)> {
        let mut spoilt = Spoilt {
            image: Image::open(Arc::clone(&self.built)).unwrap(),
            manifest: self.manifest.clone(),
        };
        spoil(&mut spoilt);
        let source = spoilt.finish();
        let image = Image::open(source).unwrap();
        let stock = Image::open(Arc::clone(&self.stock)).unwrap();
        let views = planner::views(&self.cluster, &self.inputs).unwrap();
        let view = views.iter().find(|v| v.spec.name.as_str() == self.node).unwrap();
        let mut case = Case::of(&image, &self.catalog).unwrap();
        case.manifest = Some(&spoilt.manifest);
        case.stock = Some(&stock);
        case.authority.clone_from(&self.authority);
        case.node = Some(Node {
            cluster: &self.cluster,
            inputs: &self.inputs,
            views: &views,
            view,
            base: Some(&self.base),
            epoch: EPOCH,
        });
        all().into_iter().map(|row| (row, row.verdict(&case))).collect()
    }

    /// What becomes of every row when nothing but the image is there.
    pub fn judge_alone(&self) -> Vec<(Row, Verdict)> {
        let image = Image::open(Arc::clone(&self.built)).unwrap();
        let case = Case::of(&image, &self.catalog).unwrap();
        all().into_iter().map(|row| (row, row.verdict(&case))).collect()
    }
}
