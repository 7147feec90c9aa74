//! An image with a name, a WiFi and files of the user: what users of hypriot/flash write by flags.

use std::io::IsTerminal;
use std::path::Path;

use super::Ready;
use super::image::{check_sums, edited};
use crate::base_os::{self, BaseFacts};
use crate::cli::args;
use crate::cli::build;
use crate::cli::context::{Base, Context};
use crate::cli::message::Failure;
use crate::cli::terminal::Quiet;
use crate::cloud_config::{check_network_config, check_user_data};
use crate::image::Image;
use crate::plan::{
    Address, Attributes, BasePlace, Content, Edit, Identity, Interface, NodePlan, Op, Origin, OutputFormat,
    Wifi, Wishes,
};
use crate::secrets::{Secret, wifi_psk};
use crate::spec::{ClusterSpec, parse_base, yaml};
use crate::values::{ByteSize, Digest, Hostname, ImagePath, VolumeName};

/// Name of the cluster that such a card belongs to.
const CLUSTER: &str = "flash";

/// The image with what the flags say, for a card of this length.
pub fn image(context: &Context, args: &args::Flash, text: &str, card: u64) -> Result<Ready, Failure> {
    let origin = Origin {
        file: "<command line>".to_owned(),
        line: 0,
    };
    let base = parse_base(text).map_err(|e| Failure::new(format!("`{text}`: {e}")))?;
    let base = match &base.place {
        BasePlace::Path(path) => {
            check_sums(context, path)?;
            let (source, _) = context.image_source(path)?;
            Base::as_it_is(source, text.to_owned())
        }
        _ => context.base(&base)?,
    };
    let files = Files::read(args)?;
    let psk = psk(args)?;
    let epoch = context.source_date_epoch()?.unwrap_or(ClusterSpec::EPOCH);
    let mut finished = build::finish(context, &base, text, 0, epoch, |image, facts| {
        image.volume(VolumeName::Boot)?;
        files.warn(context, facts);
        let mut edits = files.edits(&origin)?;
        let seed = facts
            .and_then(|f| f.cloud_init.as_ref())
            .and_then(|c| c.seed.as_ref());
        let named = args.hostname.is_some() || args.ssid.is_some();
        if let Some(text) = files.user_data.as_ref().filter(|_| !named || seed.is_none()) {
            let dir = seed.map_or("", |seed| seed.dir());
            edits.push(put(&format!("{dir}/user-data"), text.as_bytes(), &origin)?);
        }
        if !named {
            return Ok(edits);
        }
        let mut facts = facts
            .cloned()
            .ok_or_else(|| Failure::new("the image has no system whose name could be set"))?;
        // The name goes into the user's text as it would go into that of the base.
        if let (Some(text), Some(cloud)) = (&files.user_data, &mut facts.cloud_init) {
            cloud.user_data = Some(text.clone());
        }
        let hostname = match &args.hostname {
            Some(name) => name.clone(),
            None => own_name(image, &facts)?,
        };
        let plan = plan(
            &base,
            &hostname,
            args,
            psk.as_ref(),
            &files,
            edits,
            &origin,
            epoch,
        )?;
        let resolved = base_os::identity_edits(&plan, &facts).map_err(Failure::new)?;
        for note in &resolved.notes {
            context.note(note);
        }
        let mut all = resolved.edits;
        all.extend(plan.edits);
        Ok(all)
    })?;
    let (source, used) = edited(&mut finished.image, args, card)?;
    Ok(Ready {
        name: args
            .hostname
            .as_ref()
            .map_or_else(|| text.to_owned(), ToString::to_string),
        source,
        used,
        content: None,
        _base: Some(base),
    })
}

/// Files of the user, read and checked before anything else is done.
struct Files {
    user_data: Option<String>,
    meta_data: Option<String>,
    network_config: Option<String>,
    /// Name on the boot volume, and content.
    others: Vec<(String, Vec<u8>)>,
}

impl Files {
    fn read(args: &args::Flash) -> Result<Self, Failure> {
        let text = |path: &Option<std::path::PathBuf>| -> Result<Option<String>, Failure> {
            path.as_deref()
                .map(|path| {
                    let bytes = read(path)?;
                    String::from_utf8(bytes).map_err(|e| {
                        Failure::from(e).while_doing(format!("`{}` is not UTF-8", path.display()))
                    })
                })
                .transpose()
        };
        let files = Self {
            user_data: text(&args.userdata)?,
            meta_data: text(&args.metadata)?,
            network_config: text(&args.network_config)?,
            others: {
                let mut others = Vec::new();
                if let Some(path) = &args.bootconf {
                    others.push(("config.txt".to_owned(), read(path)?));
                }
                for path in &args.file {
                    let name = path
                        .file_name()
                        .map(|n| n.to_string_lossy().into_owned())
                        .ok_or_else(|| Failure::new(format!("`{}` has no file name", path.display())))?;
                    others.push((name, read(path)?));
                }
                others
            },
        };
        let named = |path: &Option<std::path::PathBuf>| {
            path.as_deref()
                .map_or_else(String::new, |path| path.display().to_string())
        };
        if let Some(text) = &files.user_data {
            let name = named(&args.userdata);
            if text.lines().next().map(str::trim_end) != Some("#cloud-config") {
                return Err(
                    Failure::new(format!("{name}:1: the first line is not `#cloud-config`"))
                        .hint("cloud-init passes over user-data that begins with anything else"),
                );
            }
            yaml::parse(&name, text)?;
        }
        if let Some(text) = &files.meta_data {
            yaml::parse(&named(&args.metadata), text)?;
        }
        if let Some(text) = &files.network_config {
            yaml::parse(&named(&args.network_config), text)?;
        }
        Ok(files)
    }

    /// Says what cloud-init of the image would pass over.
    fn warn(&self, context: &Context, facts: Option<&BaseFacts>) {
        let version = facts
            .and_then(|f| f.cloud_init.as_ref())
            .and_then(|c| c.version.as_deref());
        for finding in self
            .user_data
            .iter()
            .flat_map(|text| check_user_data(text, version))
        {
            context.warn(&format!("user-data: {finding}"));
        }
        for finding in self
            .network_config
            .iter()
            .flat_map(|text| check_network_config(text, version))
        {
            context.warn(&format!("network-config: {finding}"));
        }
    }

    /// The edits that put them, but for `user-data`.
    fn edits(&self, origin: &Origin) -> Result<Vec<Edit>, Failure> {
        let mut edits = Vec::new();
        if let Some(text) = &self.network_config {
            edits.push(put("/network-config", text.as_bytes(), origin)?);
        }
        if let Some(text) = &self.meta_data {
            edits.push(put("/meta-data", text.as_bytes(), origin)?);
        }
        for (name, bytes) in &self.others {
            edits.push(put(&format!("/{name}"), bytes, origin)?);
        }
        Ok(edits)
    }
}

fn put(path: &str, bytes: &[u8], origin: &Origin) -> Result<Edit, Failure> {
    Ok(Edit {
        op: Op::Put {
            at: ImagePath::on(VolumeName::Boot, path)?,
            // Nobody says which of these files holds a password.
            content: Content::secret(bytes),
            attributes: Attributes::default(),
            xattrs: Vec::new(),
            sparse: false,
        },
        origin: origin.clone(),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|e| Failure::from(e).while_doing(format!("cannot read `{}`", path.display())))
}

fn psk(args: &args::Flash) -> Result<Option<(String, Secret)>, Failure> {
    let Some(ssid) = &args.ssid else { return Ok(None) };
    let text = match args.password.as_deref() {
        None => return Ok(None),
        Some("-") => {
            if !std::io::stdin().is_terminal() {
                return Err(Failure::new(
                    "`--password -` asks for the passphrase, and there is nobody to ask",
                ));
            }
            let quiet = Quiet::new()?;
            let text = super::ask::line("Passphrase of the WiFi: ");
            drop(quiet);
            crate::cli::message::words("");
            text?
        }
        Some(text) => text.to_owned(),
    };
    let key = wifi_psk("--password", ssid, &Secret::new(text))?;
    Ok(Some((ssid.clone(), key)))
}

/// The name that the image has now.
fn own_name(image: &Image, facts: &BaseFacts) -> Result<Hostname, Failure> {
    let cloud = facts
        .cloud_init
        .as_ref()
        .and_then(|c| c.user_data.as_deref())
        .and_then(|text| {
            let value = text.lines().find_map(|line| line.strip_prefix("hostname:"))?;
            value.trim().trim_matches(['"', '\'']).parse().ok()
        });
    if let Some(name) = cloud {
        return Ok(name);
    }
    let bytes = crate::fs::tree::read_small(image.volume(VolumeName::Root)?, b"/etc/hostname", 256)?;
    String::from_utf8_lossy(&bytes).trim().parse().map_err(|e| {
        Failure::from(e)
            .while_doing("the image has no host name")
            .hint("give one with `--hostname`")
    })
}

/// A plan of a single node that has the name, the WiFi and the files.
#[allow(clippy::too_many_arguments, reason = "all of it is what was typed, read once")]
fn plan(
    base: &Base,
    hostname: &Hostname,
    args: &args::Flash,
    psk: Option<&(String, Secret)>,
    files: &Files,
    edits: Vec<Edit>,
    origin: &Origin,
    epoch: crate::values::Timestamp,
) -> Result<NodePlan, Failure> {
    let mut interfaces = Vec::new();
    if let (Some(ssid), Some(country)) = (&args.ssid, &args.wifi_country) {
        if country.len() != 2 || !country.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(Failure::new(format!(
                "--wifi-country {country}: write two capital letters, such as `DE`"
            )));
        }
        let port = |name: &str, wifi: Option<Wifi>| Interface {
            name: name.to_owned(),
            address: Address::Dhcp,
            optional: wifi.is_none(),
            wifi,
        };
        interfaces.push(port("eth0", None));
        interfaces.push(port(
            "wlan0",
            Some(Wifi {
                ssid: ssid.clone(),
                psk: psk.map(|(_, key)| key.reveal().to_owned()),
                country: country.clone(),
                hidden: false,
                power_save: false,
            }),
        ));
    }
    // The card gets another instance id when anything that cloud-init reads is another.
    let mut seen = format!("{}\n{hostname}\n{interfaces:?}\n", base.name);
    for edit in &edits {
        if let Op::Put {
            at,
            content: Content::Inline { digest, .. },
            ..
        } = &edit.op
        {
            seen.push_str(&format!("{at} {}\n", digest.hex()));
        }
    }
    if let Some(text) = &files.user_data {
        seen.push_str(&Digest::sha256(text.as_bytes()).hex());
    }
    if let Some((_, key)) = psk {
        seen.push_str(&Digest::sha256(key.reveal().as_bytes()).hex());
    }
    let digest = Digest::sha256(seen.as_bytes());
    let short: String = digest.hex().chars().take(12).collect();
    Ok(NodePlan {
        cluster: CLUSTER.to_owned(),
        node: hostname.to_string(),
        profile: CLUSTER.to_owned(),
        role: "helper",
        origin: origin.clone(),
        base: parse_base(&base.name).map_err(Failure::new)?,
        edits,
        programs: Vec::new(),
        identity: Identity {
            hostname: hostname.clone(),
            domain: None,
            instance_id: format!("{CLUSTER}-{hostname}-{short}"),
            address: Address::Dhcp,
        },
        wishes: Wishes {
            interfaces,
            // Whoever writes an image by hand has chosen its accounts.
            legacy: true,
            ..Wishes::default()
        },
        reserve: ByteSize(0),
        epoch,
        output: OutputFormat::None,
        digest,
    })
}
