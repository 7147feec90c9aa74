//! Add-ons: what the header of a manifest says, and rules over a list of them.
//!
//! This room knows texts. It must not know files, templates, nodes or the network; it renders nothing.
//!
//! A manifest begins with comment lines that hold YAML. All keys must be there, and no others:
//!
//! ```text
//! # addon: metallb                  name of the file without its endings
//! # version: "0.16.1"               of the program
//! # needs: [k3s]                    distributions it works with: k3s, kubeadm, or `any`
//! # images:                         every image that it makes nodes fetch
//! #   - {image: "quay.io/metallb/controller:v0.16.1", arches: [arm64, armhf, amd64], digest: unknown}
//! # claims: false                   whether it claims storage of the default class
//! # default-class: false            whether it brings a default StorageClass
//! # ports: []                       ports that it takes on nodes
//! # secrets: []                     secrets that its template asks for, by their names in the file of secrets
//! # settings: []                    keys that it reads from `services: {NAME: …}` of the node that carries it
//! ```
//!
//! The header ends with the first line that is no comment or an empty one; comments behind it are words for people.
//! `digest` is `unknown` or that of the index of all architectures, `sha256:…`.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::spec::{Architecture, Distribution};

/// An add-on, as its header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addon {
    /// Name, by which profiles ask for it.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Where it works.
    pub needs: Vec<Need>,
    /// Every image that it makes nodes fetch.
    pub images: Vec<AddonImage>,
    /// Whether it claims storage of the default class.
    pub claims: bool,
    /// Whether it brings a default StorageClass.
    pub default_class: bool,
    /// Ports that it takes on nodes.
    pub node_ports: Vec<u16>,
    /// Secrets that its template asks for.
    pub secrets: Vec<String>,
    /// Keys that it reads from the node's `services`.
    pub settings: Vec<String>,
}

/// What an add-on needs around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// k3s: its controller for Helm charts or its own parts.
    K3s,
    /// A cluster of kubeadm.
    Kubeadm,
    /// Any cluster.
    Any,
}

impl Need {
    /// The word of the header.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::K3s => "k3s",
            Self::Kubeadm => "kubeadm",
            Self::Any => "any",
        }
    }
}

/// An image of an add-on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddonImage {
    /// Registry, repository and tag.
    pub image: String,
    /// Architectures that the image is known to be made for.
    pub arches: Vec<Architecture>,
    /// Digest of the index of all architectures, `sha256:…`, or `unknown`.
    pub digest: String,
}

/// A header that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {why}")]
pub struct AddonError {
    /// The manifest.
    pub file: String,
    /// 1-based.
    pub line: usize,
    /// What is wrong and what would be right.
    pub why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Header {
    addon: String,
    version: String,
    needs: Vec<Need>,
    images: Vec<AddonImage>,
    claims: bool,
    default_class: bool,
    ports: Vec<u16>,
    secrets: Vec<String>,
    settings: Vec<String>,
}

/// Reads the header of the manifest `text` (a template or not) of `file`, whose add-on is to be called `name`.
///
/// # Errors
/// [`AddonError`] with the line.
pub fn parse_header(file: &str, name: &str, text: &str) -> Result<Addon, AddonError> {
    let error = |line: usize, why: String| AddonError {
        file: file.to_owned(),
        line,
        why,
    };
    // Line for line the YAML of the comments, so that its line numbers are those of the file.
    let lines: Vec<&str> = text
        .lines()
        .map_while(|line| line.strip_prefix('#'))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    if !lines.first().is_some_and(|line| line.starts_with("addon:")) {
        return Err(error(
            1,
            format!("an add-on begins with its header; `# addon: {name}` would be right"),
        ));
    }
    let header: Header = serde_saphyr::from_str(&lines.join("\n")).map_err(|e| {
        let line = e
            .location()
            .and_then(|place| usize::try_from(place.line()).ok())
            .unwrap_or(1);
        // The reader of YAML names the place, not always what stands there.
        let stands = lines.get(line - 1).map_or("", |text| text.trim());
        error(line, format!("{}: `{stands}`", e.without_snippet()))
    })?;
    let at = |word: &str| {
        lines
            .iter()
            .position(|line| line.contains(word))
            .map_or(1, |i| i + 1)
    };
    if header.addon != name {
        let why = format!(
            "the header says `{}`, the file `{name}`; both must be equal",
            header.addon
        );
        return Err(error(at("addon:"), why));
    }
    if header.needs.is_empty() {
        return Err(error(
            at("needs:"),
            "`needs` is empty; `[any]` says that any cluster will do".to_owned(),
        ));
    }
    let mut seen = BTreeSet::new();
    for image in &header.images {
        let why = image_fault(image).or_else(|| {
            (!seen.insert(image.image.as_str())).then(|| format!("`{}` is listed twice", image.image))
        });
        if let Some(why) = why {
            return Err(error(at(&image.image), why));
        }
    }
    Ok(Addon {
        name: header.addon,
        version: header.version,
        needs: header.needs,
        images: header.images,
        claims: header.claims,
        default_class: header.default_class,
        node_ports: header.ports,
        secrets: header.secrets,
        settings: header.settings,
    })
}

fn image_fault(image: &AddonImage) -> Option<String> {
    let name = &image.image;
    let (path, tag) = name.rsplit_once(':').unwrap_or((name, ""));
    if !path.split('/').next().is_some_and(|host| host.contains('.')) || tag.is_empty() || tag.contains('/') {
        return Some(format!(
            "`{name}` must have registry, repository and tag, as docker.io/library/redis:8.8.3"
        ));
    }
    if tag == "latest" {
        return Some(format!("`{name}` is not pinned; name a version"));
    }
    if image.arches.is_empty() {
        return Some(format!(
            "`{name}` has no architecture; [arm64, amd64] would be such a list"
        ));
    }
    let digest = &image.digest;
    let right = digest == "unknown"
        || digest.strip_prefix("sha256:").is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        });
    (!right).then(|| format!("the digest `{digest}` must be `unknown` or sha256: and 64 hexadecimal digits"))
}

impl Addon {
    /// Whether it works with a distribution.
    #[must_use]
    pub fn fits(&self, distribution: Distribution) -> bool {
        self.needs.iter().any(|need| {
            matches!(
                (need, distribution),
                (Need::K3s, Distribution::K3s)
                    | (Need::Kubeadm, Distribution::Kubeadm)
                    | (Need::Any, Distribution::K3s | Distribution::Kubeadm)
            )
        })
    }
}

/// Images that are not made for all of the architectures of a cluster, each with those that lack it (F218).
#[must_use]
pub fn missing_arches<'a>(addon: &'a Addon, arches: &[Architecture]) -> Vec<(&'a str, Vec<Architecture>)> {
    addon
        .images
        .iter()
        .filter_map(|image| {
            let wanted: BTreeSet<Architecture> = arches.iter().copied().collect();
            let lacking: Vec<Architecture> =
                wanted.into_iter().filter(|a| !image.arches.contains(a)).collect();
            (!lacking.is_empty()).then_some((image.image.as_str(), lacking))
        })
        .collect()
}

/// What is wrong with the default StorageClass of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClassFault {
    /// Claims would wait for ever.
    #[error(
        "{} claim storage and no default StorageClass is there; add `local-path-retain`, or leave local-storage of k3s enabled",
        .0.join(", ")
    )]
    None(Vec<String>),
    /// Which class a claim gets would be a matter of luck.
    #[error("{} each bring a default StorageClass; exactly one may", .0.join(", "))]
    Several(Vec<String>),
}

/// What k3s calls the part of it that brings a default StorageClass, in `kubernetes.disable`.
pub const LOCAL_STORAGE: &str = "local-storage";

/// Checks that at most one default StorageClass comes to be, and one when claims need it (F171, F220, P51).
/// `local_storage` says whether k3s brings its own, that is: k3s, and [`LOCAL_STORAGE`] is not disabled.
///
/// # Errors
/// [`ClassFault`] with the names.
pub fn default_class(addons: &[Addon], local_storage: bool) -> Result<(), ClassFault> {
    let mut classes: Vec<String> = addons
        .iter()
        .filter(|a| a.default_class)
        .map(|a| a.name.clone())
        .collect();
    if local_storage {
        classes.push(format!("{LOCAL_STORAGE} of k3s"));
    }
    if classes.len() > 1 {
        return Err(ClassFault::Several(classes));
    }
    let claims: Vec<String> = addons
        .iter()
        .filter(|a| a.claims)
        .map(|a| a.name.clone())
        .collect();
    if classes.is_empty() && !claims.is_empty() {
        return Err(ClassFault::None(claims));
    }
    Ok(())
}

/// The images that a rendered manifest names as `image: …`, those inside the values of charts too.
#[must_use]
pub fn image_references(manifest: &str) -> BTreeSet<&str> {
    manifest
        .lines()
        .map(|line| line.trim_start())
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("- ").unwrap_or(line).strip_prefix("image: "))
        .map(|image| image.trim().trim_matches(['"', '\'']))
        .filter(|image| !image.is_empty() && !image.starts_with(['{', '|', '>']))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# addon: x\n# version: \"1.0\"\n# needs: [k3s]\n# images:\n#   - {image: \"quay.io/a/b:v1\", arches: [arm64, amd64], digest: unknown}\n# claims: true\n# default-class: false\n# ports: [30003]\n# secrets: [x-admin]\n# settings: []\n\n# words: of no header\n---\n";

    fn read(text: &str) -> Result<Addon, String> {
        parse_header("x.yaml", "x", text).map_err(|e| e.to_string())
    }

    #[test]
    fn headers_are_read() {
        let addon = read(GOOD).expect("good");
        assert_eq!(
            (addon.version.as_str(), addon.claims, addon.default_class),
            ("1.0", true, false)
        );
        assert_eq!(addon.images[0].arches, [Architecture::Arm64, Architecture::Amd64]);
        assert_eq!(
            (addon.node_ports, addon.secrets),
            (vec![30003], vec!["x-admin".to_owned()])
        );
    }

    #[test]
    fn faults_of_headers_have_their_line() {
        for (from, to, expected) in [
            (
                "# addon: x\n",
                "",
                "x.yaml:1: an add-on begins with its header; `# addon: x` would be right",
            ),
            (
                "# addon: x\n",
                "# addon: y\n",
                "x.yaml:1: the header says `y`, the file `x`; both must be equal",
            ),
            (
                "[k3s]",
                "[]",
                "x.yaml:3: `needs` is empty; `[any]` says that any cluster will do",
            ),
            (
                "b:v1",
                "b",
                "x.yaml:5: `quay.io/a/b` must have registry, repository and tag, as docker.io/library/redis:8.8.3",
            ),
            (
                "b:v1",
                "b:latest",
                "x.yaml:5: `quay.io/a/b:latest` is not pinned; name a version",
            ),
            (
                "[arm64, amd64]",
                "[]",
                "x.yaml:5: `quay.io/a/b:v1` has no architecture; [arm64, amd64] would be such a list",
            ),
            (
                "unknown",
                "sha256:12",
                "x.yaml:5: the digest `sha256:12` must be `unknown` or sha256: and 64 hexadecimal digits",
            ),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_eq!(read(&text).expect_err(to), expected);
        }
        for (from, to, line, word) in [
            ("[k3s]", "[k3t]", 3, "k3t"),
            ("claims: true", "claims: perhaps", 6, "perhaps"),
            ("ports: [30003]", "ports: [99999]", 8, "99999"),
            ("settings: []", "setings: []", 10, "setings"),
        ] {
            let error = read(&GOOD.replacen(from, to, 1)).expect_err(to);
            assert!(
                error.starts_with(&format!("x.yaml:{line}: ")) && error.contains(word),
                "{error}"
            );
        }
        let error = read(&GOOD.replacen("# claims: true\n", "", 1)).expect_err("missing");
        assert!(error.contains("claims"), "{error}");
    }

    #[test]
    fn f218_images_that_an_architecture_lacks() {
        let addon = read(GOOD).expect("good");
        assert!(missing_arches(&addon, &[Architecture::Arm64]).is_empty());
        assert_eq!(
            missing_arches(
                &addon,
                &[Architecture::Armhf, Architecture::Arm64, Architecture::Armhf]
            ),
            [("quay.io/a/b:v1", vec![Architecture::Armhf])]
        );
    }

    #[test]
    fn f171_f220_p51_one_default_class() {
        let claimer = read(GOOD).expect("good");
        let plain = Addon {
            claims: false,
            name: "plain".to_owned(),
            ..claimer.clone()
        };
        let bringer = Addon {
            default_class: true,
            name: "one".to_owned(),
            ..plain.clone()
        };
        let other = Addon {
            name: "two".to_owned(),
            ..bringer.clone()
        };
        let text = |addons: &[&Addon], k3s| {
            let addons: Vec<Addon> = addons.iter().map(|a| (*a).clone()).collect();
            default_class(&addons, k3s).map_err(|e| e.to_string())
        };
        assert_eq!(text(&[], false), Ok(()));
        assert_eq!(text(&[&plain], false), Ok(()));
        assert_eq!(text(&[&claimer], true), Ok(()));
        assert_eq!(text(&[&claimer, &bringer], false), Ok(()));
        assert!(
            text(&[&claimer, &plain], false).is_err_and(|e| e.starts_with("x claim storage and no default"))
        );
        assert!(
            text(&[&bringer], true).is_err_and(|e| e.starts_with("one, local-storage of k3s each bring"))
        );
        assert!(text(&[&bringer, &other], false).is_err_and(|e| e.starts_with("one, two each bring")));
    }

    #[test]
    fn where_it_works() {
        let of = |needs: &str| read(&GOOD.replacen("[k3s]", needs, 1)).expect("good");
        assert!(of("[k3s]").fits(Distribution::K3s) && !of("[k3s]").fits(Distribution::Kubeadm));
        assert!(of("[any]").fits(Distribution::Kubeadm) && !of("[any]").fits(Distribution::None));
        assert!(of("[kubeadm]").fits(Distribution::Kubeadm) && !of("[kubeadm]").fits(Distribution::K3s));
    }

    #[test]
    fn references_are_found() {
        let text = "# image: no\n      - image: \"a.b/c:1\"\n    image: d.e/f:2\n  image: {repository: x}\n  imagePullPolicy: y\n";
        assert_eq!(
            image_references(text).into_iter().collect::<Vec<_>>(),
            ["a.b/c:1", "d.e/f:2"]
        );
    }
}
