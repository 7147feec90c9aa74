use serde_json::json;

use crate::amend::{hosts_loopback, hosts_members};
use crate::plan::{Address, Content, NodePlan, Op, Wishes};
use crate::values::{ImagePath, VolumeName};

use super::builder::{Builder, Failure};
use super::cloud_init::SeedKeys;
use super::{BaseFacts, CARD_RECORD, CloudInit, Resolved, Seed, cloud_init, network};

/// `/etc/hosts` of a base that has none.
const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\nff02::1\t\tip6-allnodes\nff02::2\t\tip6-allrouters\n";

/// The step of the first boot that takes secrets off the boot volume, and where it finds what it puts there.
const SCRUB: &str = "/usr/local/lib/ceil/steps/scrub";
const CLEAN: &str = "/var/lib/ceil/clean";

/// The edits that make a node what it should be on this base: its name, addresses, accounts and all else that it wishes
/// of the operating system, and cloud-init's seed. They come before the node's own edits, and a file that the node puts
/// itself is left to it.
///
/// What does not need the running machine is baked into the root volume; accounts, packages and locales go to
/// cloud-init where it has a seed.
///
/// # Errors
/// A sentence that says what is supported, when the base has no known way to something.
pub fn identity_edits(plan: &NodePlan, facts: &BaseFacts) -> Result<Resolved, String> {
    let mut out = Builder::new(plan, facts);
    out.build()?;
    Ok(out.resolved)
}

impl Builder<'_> {
    fn build(&mut self) -> Result<(), Failure> {
        let (plan, facts) = (self.plan, self.facts);
        let identity = &plan.identity;
        let hostname = identity.hostname.as_str();
        let record = json!({
            "cluster": plan.cluster,
            "node": plan.node,
            "plan": plan.digest,
            "tool": concat!("ceil-img ", env!("CARGO_PKG_VERSION")),
        });
        self.put(VolumeName::Boot, CARD_RECORD, &format!("{record}\n"))?;
        self.put(VolumeName::Root, "/etc/hostname", &format!("{hostname}\n"))?;
        let hosts = hosts_loopback(
            facts.hosts.as_deref().unwrap_or(HOSTS),
            hostname,
            identity.domain.as_ref().map(|d| d.as_str()),
        );
        let members: Vec<(String, String)> = plan
            .wishes
            .hosts
            .iter()
            .map(|host| {
                let names: Vec<&str> = host.names.iter().map(|n| n.as_str()).collect();
                (host.ip.to_string(), names.join(" "))
            })
            .collect();
        self.put(VolumeName::Root, "/etc/hosts", &hosts_members(&hosts, &members))?;
        let seeded = match &facts.cloud_init {
            Some(cloud) => match &cloud.seed {
                Some(seed) => Some((cloud, seed)),
                None => {
                    self.note("the base has cloud-init, but it does not look for a seed on the boot volume: the host name is baked into the root volume only");
                    None
                }
            },
            None => {
                self.note("the base has no cloud-init: the host name is baked into the root volume");
                None
            }
        };
        let mut keys = seeded.map(|_| SeedKeys::default());
        let mark = self.resolved.edits.len();
        self.machine_id()?;
        let wishes = Wishes {
            legacy: false,
            ..plan.wishes.clone()
        };
        if wishes == Wishes::default() {
            // What is left as it is must not be open to everybody (F049).
            self.known_passwords()?;
        } else {
            self.wishes(keys.as_mut())?;
        }
        // The seed stands with the name, in front of what the system is wished to be.
        let wished = self.resolved.edits.split_off(mark);
        if let (Some((cloud, seed)), Some(keys)) = (seeded, &keys) {
            self.seed(cloud, seed, keys)?;
        }
        self.network(seeded)?;
        self.resolved.edits.extend(wished);
        self.clean_copies()
    }

    /// What the step `scrub` of the first boot puts in the place of files with secrets on the boot volume, and the digests
    /// by which it knows them.
    fn clean_copies(&mut self) -> Result<(), Failure> {
        let step = ImagePath::on(VolumeName::Root, SCRUB)?;
        if !self.taken(&step) {
            return Ok(());
        }
        let mut sums = String::new();
        let mut copies = Vec::new();
        for edit in &self.resolved.edits {
            let Op::Put {
                at,
                content:
                    Content::Inline {
                        bytes,
                        digest,
                        secret: true,
                    },
                ..
            } = &edit.op
            else {
                continue;
            };
            if at.volume != Some(VolumeName::Boot) {
                continue;
            }
            let path = at.path().trim_start_matches('/');
            sums.push_str(&format!("{}  {path}\n", digest.hex()));
            copies.push((format!("{CLEAN}/{path}"), cloud_init::without_secrets(bytes)));
        }
        if copies.is_empty() {
            return Ok(());
        }
        for (path, text) in copies {
            self.file(&path, &text, 0o600)?;
        }
        self.secret(&format!("{CLEAN}/SHA256SUMS"), &sums)?;
        self.note("secrets on the boot volume are taken off it by the first boot once they have been used");
        Ok(())
    }

    /// Everything but the network, which has one owner of its own.
    fn wishes(&mut self, mut keys: Option<&mut SeedKeys>) -> Result<(), Failure> {
        if let Some(keys) = keys.as_deref_mut() {
            keys.own_hosts = !self.plan.wishes.hosts.is_empty();
        }
        self.users(keys.as_deref_mut())?;
        self.ssh(keys.as_deref_mut())?;
        self.timezone(keys.as_deref_mut())?;
        self.locale(keys.as_deref_mut())?;
        self.keyboard(keys.as_deref_mut())?;
        self.packages(keys)?;
        self.swap()?;
        self.sysctls()?;
        self.modules()?;
        self.units()?;
        self.clock()
    }

    fn seed(&mut self, cloud: &CloudInit, seed: &Seed, keys: &SeedKeys) -> Result<(), Failure> {
        let plan = self.plan;
        let identity = &plan.identity;
        let hostname = identity.hostname.as_str();
        let shown = cloud
            .version
            .as_deref()
            .map_or("an unknown version".to_owned(), |v| format!("version {v}"));
        let why = match seed {
            Seed::Boot { .. } => "reads its seed from the boot volume",
            Seed::Links { .. } => "reads its seed through links to the boot volume",
        };
        let dir = seed.dir();
        self.note(format!(
            "host name and instance id go to cloud-init ({shown}), which {why}, and are baked into the root volume too"
        ));
        self.put(
            VolumeName::Boot,
            &format!("{dir}/meta-data"),
            &cloud_init::meta_data(cloud.meta_data.as_deref(), &identity.instance_id, hostname),
        )?;
        let path = format!("{dir}/user-data");
        match cloud_init::user_data(cloud.user_data.as_deref(), hostname, keys)? {
            Some((text, kept)) => {
                if kept && !plan.wishes.legacy && cloud_init::tells_a_password(&text) {
                    return Err(Failure::Refused(format!(
                        "the base's own user-data makes an account with a password that everyone knows; give `users` of your own, or `legacy: true` to keep that of {}",
                        self.facts.called()
                    )));
                }
                let content = if keys.is_secret() {
                    Content::secret(text.as_bytes())
                } else {
                    Content::inline(text.as_bytes())
                };
                let put = self.put_content(VolumeName::Boot, &path, content, crate::plan::Attributes::default())?;
                if put && keys.is_secret() {
                    self.note("hashes of passwords stand in the seed on the boot volume, which has no modes");
                }
                if put && kept {
                    self.note("the base's own user-data is kept, with the host name set in it");
                } else if !put && !keys.is_empty() {
                    self.note("the wishes that cloud-init carries are not in the node's own user-data: accounts, packages and locale are up to it");
                }
            }
            None if keys.is_empty() => self.note(
                "the base's own user-data is not a cloud-config and stays as it is; the host name comes from meta-data",
            ),
            None => {
                return Err(Failure::Refused(
                    "the base's own user-data is not a cloud-config, so that accounts, packages and locale have no place in it; put a user-data among the edits".to_owned(),
                ));
            }
        }
        Ok(())
    }

    fn network(&mut self, seeded: Option<(&CloudInit, &Seed)>) -> Result<(), Failure> {
        let plan = self.plan;
        if !plan.wishes.interfaces.is_empty() {
            return self.interfaces(seeded);
        }
        let Address::Static(fixed) = &plan.identity.address else {
            return Ok(());
        };
        match seeded {
            Some((cloud, seed)) => {
                let version = cloud.version.as_deref();
                let release = cloud.release();
                if release.is_some_and(|r| !r.at_least(&[0, 7, 9])) {
                    return Err(Failure::Refused(format!(
                        "cloud-init {} of this base cannot set a fixed address; use `address: dhcp` with a reservation, or a base with cloud-init 0.7.9 or later",
                        version.unwrap_or_default()
                    )));
                }
                let one = network::wired(fixed);
                self.network_config(cloud, seed, &[&one])
            }
            None => self.baked_address(fixed),
        }
    }

    fn baked_address(&mut self, fixed: &crate::plan::StaticAddress) -> Result<(), Failure> {
        let Some((op, word)) = network::static_address(fixed, self.facts.network)? else {
            return Err(Failure::Refused(format!(
                "no way to set a fixed address on {} is known; supported are cloud-init with a seed on the boot volume, NetworkManager, systemd-networkd and dhcpcd; use `address: dhcp` with a reservation or with network files among the edits",
                self.facts.called()
            )));
        };
        if let Op::Put { at, .. } = &op
            && self.left(at)
        {
            return Ok(());
        }
        self.note(format!(
            "the address is baked as {word}, since there is no cloud-init seed"
        ));
        self.push(op);
        Ok(())
    }
}
