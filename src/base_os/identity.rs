use crate::amend::hosts_loopback;
use crate::plan::{Address, Attributes, Content, Edit, NodePlan, Op, Origin};
use crate::template::TemplateError;
use crate::values::{ImagePath, ImagePathError, VolumeName};

use super::{BaseFacts, CloudInit, Resolved, Seed, cloud_init, network};

/// `/etc/hosts` of a base that has none.
const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\nff02::1\t\tip6-allnodes\nff02::2\t\tip6-allrouters\n";

/// The edits that make a node itself on this base: host name, hosts, cloud-init's seed, a fixed address. They come
/// before the node's own edits, and a file that the node puts itself is left to it.
///
/// # Errors
/// A sentence that says what is supported, when the base has no known way to a fixed address.
pub fn identity_edits(plan: &NodePlan, facts: &BaseFacts) -> Result<Resolved, String> {
    let mut out = Builder {
        plan,
        facts,
        resolved: Resolved::default(),
    };
    out.build().map_err(|e| match e {
        Failure::Path(e) => e.to_string(),
        Failure::Template(e) => e.to_string(),
        Failure::Refused(why) => why,
    })?;
    Ok(out.resolved)
}

enum Failure {
    Path(ImagePathError),
    Template(TemplateError),
    Refused(String),
}

impl From<ImagePathError> for Failure {
    fn from(e: ImagePathError) -> Self {
        Self::Path(e)
    }
}

impl From<TemplateError> for Failure {
    fn from(e: TemplateError) -> Self {
        Self::Template(e)
    }
}

struct Builder<'a> {
    plan: &'a NodePlan,
    facts: &'a BaseFacts,
    resolved: Resolved,
}

impl Builder<'_> {
    fn build(&mut self) -> Result<(), Failure> {
        let identity = &self.plan.identity;
        let hostname = identity.hostname.as_str();
        self.put(VolumeName::Root, "/etc/hostname", &format!("{hostname}\n"))?;
        let hosts = hosts_loopback(
            self.facts.hosts.as_deref().unwrap_or(HOSTS),
            hostname,
            identity.domain.as_ref().map(|d| d.as_str()),
        );
        self.put(VolumeName::Root, "/etc/hosts", &hosts)?;
        let seeded = match &self.facts.cloud_init {
            Some(cloud) => match &cloud.seed {
                Some(seed) => Some((cloud, seed)),
                None => {
                    self.note(
                        "the base has cloud-init, but it does not look for a seed on the boot volume: the host name is baked into the root volume only".to_owned(),
                    );
                    None
                }
            },
            None => {
                self.note(
                    "the base has no cloud-init: the host name is baked into the root volume".to_owned(),
                );
                None
            }
        };
        match seeded {
            Some((cloud, seed)) => self.seed(cloud, seed),
            None => self.baked_address(),
        }
    }

    fn note(&mut self, text: String) {
        self.resolved.notes.push(text);
    }

    fn seed(&mut self, cloud: &CloudInit, seed: &Seed) -> Result<(), Failure> {
        let identity = &self.plan.identity;
        let hostname = identity.hostname.as_str();
        let version = cloud.version.as_deref();
        let shown = version.map_or("an unknown version".to_owned(), |v| format!("version {v}"));
        let (dir, why) = match seed {
            Seed::Boot { dir } => (dir.trim_end_matches('/'), "reads its seed from the boot volume"),
            Seed::Links { .. } => ("", "reads its seed through links to the boot volume"),
        };
        self.note(format!(
            "host name and instance id go to cloud-init ({shown}), which {why}, and are baked into the root volume too"
        ));
        self.put(
            VolumeName::Boot,
            &format!("{dir}/meta-data"),
            &cloud_init::meta_data(cloud.meta_data.as_deref(), &identity.instance_id, hostname),
        )?;
        match cloud_init::user_data(cloud.user_data.as_deref(), hostname)? {
            Some((text, kept)) => {
                if self.put(VolumeName::Boot, &format!("{dir}/user-data"), &text)? && kept {
                    self.note("the base's own user-data is kept, with the host name set in it".to_owned());
                }
            }
            None => self.note(
                "the base's own user-data is not a cloud-config and stays as it is; the host name comes from meta-data".to_owned(),
            ),
        }
        let Address::Static(fixed) = &identity.address else {
            return Ok(());
        };
        if version.is_some_and(|v| v.starts_with("0.7.") && v.as_bytes().get(4).is_some_and(|b| *b < b'9')) {
            return Err(Failure::Refused(format!(
                "cloud-init {} of this base cannot set a fixed address; use `address: dhcp` with a reservation, or a base with cloud-init 0.7.9 or later",
                version.unwrap_or_default()
            )));
        }
        let config_version = cloud_init::network_version(version);
        let text = cloud_init::network_config(fixed, config_version)?;
        // Without a link on the root volume the file of the boot volume would not be read.
        let (volume, path) = match seed {
            Seed::Links {
                network_config: false,
            } => (
                VolumeName::Root,
                "/var/lib/cloud/seed/nocloud-net/network-config".to_owned(),
            ),
            _ => (VolumeName::Boot, format!("{dir}/network-config")),
        };
        if self.put(volume, &path, &text)? {
            self.note(format!(
                "the address goes to cloud-init as network-config version {config_version}"
            ));
        }
        Ok(())
    }

    fn baked_address(&mut self) -> Result<(), Failure> {
        let Address::Static(fixed) = &self.plan.identity.address else {
            return Ok(());
        };
        let Some((op, word)) = network::static_address(fixed, self.facts.network)? else {
            let name = if self.facts.pretty_name.is_empty() {
                "this base"
            } else {
                &self.facts.pretty_name
            };
            return Err(Failure::Refused(format!(
                "no way to set a fixed address on {name} is known; supported are cloud-init with a seed on the boot volume, NetworkManager, systemd-networkd and dhcpcd; use `address: dhcp` with a reservation or with network files among the edits"
            )));
        };
        if let Op::Put { at, .. } = &op
            && self.taken(at)
        {
            self.note(format!("`{at}` is put by the node's own edits and left to them"));
            return Ok(());
        }
        self.note(format!(
            "the address is baked as {word}, since there is no cloud-init seed"
        ));
        self.push(op);
        Ok(())
    }

    fn push(&mut self, op: Op) {
        self.resolved.edits.push(Edit {
            op,
            origin: Origin {
                file: "<identity>".to_owned(),
                line: 0,
            },
        });
    }

    /// Puts a file unless the node's own edits do; tells whether it did.
    fn put(&mut self, volume: VolumeName, path: &str, text: &str) -> Result<bool, Failure> {
        let at = ImagePath::on(volume, path)?;
        if self.taken(&at) {
            self.note(format!("`{at}` is put by the node's own edits and left to them"));
            return Ok(false);
        }
        self.push(Op::Put {
            at,
            content: Content::inline(text.as_bytes()),
            attributes: Attributes::default(),
            xattrs: Vec::new(),
            sparse: false,
        });
        Ok(true)
    }

    fn taken(&self, at: &ImagePath) -> bool {
        self.plan.edits.iter().any(|edit| match &edit.op {
            Op::Put { at: own, .. } | Op::Symlink { at: own, .. } | Op::Hardlink { at: own, .. } => {
                self.same(own, at)
            }
            Op::Rename { to, .. } => self.same(to, at),
            _ => false,
        })
    }

    /// Whether the path of a user's edit is this place; a plain path goes through the boot volume's mount point.
    fn same(&self, own: &ImagePath, at: &ImagePath) -> bool {
        let (volume, path) = match own.volume {
            Some(volume) => (volume, own.path()),
            None => match own
                .path()
                .strip_prefix(self.facts.boot_mount.as_str())
                .filter(|rest| rest.starts_with('/'))
            {
                Some(rest) => (VolumeName::Boot, rest),
                None => (VolumeName::Root, own.path()),
            },
        };
        let equal = match volume {
            VolumeName::Boot => path.eq_ignore_ascii_case(at.path()),
            VolumeName::Root => path == at.path(),
        };
        at.volume == Some(volume) && equal
    }
}
