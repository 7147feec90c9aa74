//! Which image goes to which disk.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::ask;
use crate::cli::args;
use crate::cli::context::Context;
use crate::cli::devices::content;
use crate::cli::message::Failure;
use crate::cli::plan::{cluster_file, select};
use crate::flash::{Allow, judge};
use crate::sys::disks::{self, Disk, ThisHost};
use crate::values::ByteSize;

/// What is written.
pub enum What {
    /// A node of the cluster.
    Node(String),
    /// An image as it is.
    Image(String),
    /// An image that gets a name and files on its boot volume.
    Named(String),
}

/// Where it is written.
pub enum Place {
    /// A disk.
    Disk(Box<Disk>),
    /// A regular file that stands for one.
    File {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
    },
}

impl Place {
    /// The name of the device.
    pub fn shown(&self) -> String {
        match self {
            Self::Disk(disk) => disk.path.display().to_string(),
            Self::File { path, .. } => path.display().to_string(),
        }
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Disk(disk) => disk.size,
            Self::File { len, .. } => *len,
        }
    }

    /// What is opened for reading.
    pub fn path(&self) -> &Path {
        match self {
            Self::Disk(disk) => &disk.path,
            Self::File { path, .. } => path,
        }
    }

    /// Model, size and what is on it.
    pub fn describe(&self) -> String {
        match self {
            Self::File { len, .. } => format!("a file of {}", ByteSize(*len)),
            Self::Disk(disk) => {
                let mut words = vec![ByteSize(disk.size).to_string(), disk.bus.to_string()];
                if !disk.model.is_empty() {
                    words.insert(0, disk.model.clone());
                }
                let on_it = content(disk);
                words.push(if on_it.is_empty() {
                    "nothing that the system knows on it".to_owned()
                } else {
                    on_it
                });
                words.join(", ")
            }
        }
    }
}

/// The cluster file and base of the arguments.
pub fn cluster_args(args: &args::Flash) -> Result<args::ClusterArgs, Failure> {
    let file = match args.file.as_slice() {
        [] => PathBuf::from("cluster.yaml"),
        [file] => file.clone(),
        _ => return Err(Failure::new("`--file` names one cluster file")),
    };
    Ok(args::ClusterArgs {
        file,
        base: args.base.clone(),
    })
}

/// Devices and what goes to each.
pub fn wanted(context: &Context, args: &args::Flash) -> Result<Vec<(String, What)>, Failure> {
    if let Some(device) = &args.device {
        let [image] = args.what.as_slice() else {
            return Err(Failure::new("with `--device`, one IMAGE is wanted")
                .hint("`ceil-img flash IMAGE --device DEVICE`"));
        };
        return Ok(vec![(device.clone(), What::Named(image.clone()))]);
    }
    // A path may hold a `=`, the name of a node does not hold a `/`.
    let pair = |text: &str| -> Option<(String, String)> {
        let (node, device) = text.split_once('=')?;
        (!node.contains('/')).then(|| (node.to_owned(), device.to_owned()))
    };
    let pairs: Vec<_> = args.what.iter().filter_map(|text| pair(text)).collect();
    if !pairs.is_empty() {
        if pairs.len() != args.what.len() {
            return Err(Failure::new("write each card as `NODE=DEVICE`"));
        }
        if args.image.is_some() {
            return Err(Failure::new("`--image` goes to one DEVICE, not to nodes"));
        }
        let mut wanted = Vec::new();
        for (node, device) in pairs {
            if wanted.iter().any(|(d, _): &(String, What)| *d == device) {
                return Err(Failure::new(format!("`{device}` is named twice")));
            }
            wanted.push((device, What::Node(node)));
        }
        return Ok(wanted);
    }
    let what = match (args.what.as_slice(), &args.image) {
        ([_], Some(image)) => What::Image(image.clone()),
        ([_, node], None) => What::Node(node.clone()),
        ([_], None) => What::Node(some_node(context, args)?),
        (_, Some(_)) => {
            return Err(Failure::new(
                "`--image` takes the place of the NODE: name one of them",
            ));
        }
        _ => {
            return Err(Failure::new("one DEVICE and one NODE are wanted")
                .hint("several at once are written as `one=/dev/sdb two=/dev/sdc`"));
        }
    };
    Ok(vec![(args.what[0].clone(), what)])
}

/// The node that is meant when none is named: the only one, the one that was built last, or the one that is answered.
fn some_node(context: &Context, args: &args::Flash) -> Result<String, Failure> {
    let cluster = cluster_file(context, &cluster_args(args)?, &[])?;
    let nodes = select(&cluster, &[])?;
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    if let [only] = names.as_slice() {
        return Ok((*only).to_owned());
    }
    let built = |name: &&&str| {
        let manifest = args.out.join(format!("{name}.manifest.json"));
        std::fs::metadata(manifest).and_then(|meta| meta.modified()).ok()
    };
    let last = names
        .iter()
        .filter_map(|name| built(&name).map(|time| (time, *name)))
        .max();
    if let Some((_, name)) = last {
        context.note(&format!("node `{name}`, which was built last"));
        return Ok(name.to_owned());
    }
    let known = names.join(", ");
    if !ask::can_ask() {
        return Err(
            Failure::new("which node? name it after the device").hint(format!("the nodes are {known}"))
        );
    }
    let answer = ask::line(&format!("Which node ({known})? "))?;
    if names.contains(&answer.as_str()) {
        Ok(answer)
    } else {
        Err(Failure::new(format!("there is no node `{answer}`")).hint(format!("the nodes are {known}")))
    }
}

/// The disk or file that a name stands for.
///
/// # Errors
/// It is neither, or the system cannot be asked.
pub fn find(device: &str) -> Result<Place, Failure> {
    // `disk4` and `sdb` are what other tools take.
    let short = !device.contains('/') && !Path::new(device).exists();
    let path = if short {
        format!("/dev/{device}")
    } else {
        device.to_owned()
    };
    let meta = std::fs::metadata(&path).map_err(|e| {
        Failure::from(e)
            .while_doing(format!("there is no `{device}` to write to"))
            .hint("`ceil-img devices` lists cards; a file for trials is made by `truncate -s 8G FILE`")
    })?;
    if meta.is_file() {
        return Ok(Place::File {
            path: PathBuf::from(path),
            len: meta.len(),
        });
    }
    if meta.is_dir() {
        return Err(Failure::new(format!("`{device}` is a directory"))
            .hint("name the device of the card; `ceil-img devices` lists cards"));
    }
    if !meta.file_type().is_block_device() && !meta.file_type().is_char_device() {
        return Err(Failure::new(format!("`{device}` is neither a disk nor a file")));
    }
    let disk =
        disks::disk(&ThisHost, &path).map_err(|e| Failure::from(e).hint("`ceil-img devices` lists cards"))?;
    Ok(Place::Disk(Box::new(disk)))
}

/// What the flags permit.
pub fn allowed(writing: &args::Writing) -> Allow {
    Allow {
        fixed: writing.allow_fixed,
        large: writing.allow_large,
        member: writing.allow_member,
    }
}

/// Refuses a place that must not be written, or has no room for `need` bytes.
///
/// # Errors
/// All reasons, each with a way out.
pub fn permit(place: &Place, need: u64, writing: &args::Writing) -> Result<(), Failure> {
    match place {
        Place::File { path, len } if *len < need => Err(Failure::new(format!(
            "`{}` is too small: it has {len} bytes and the image needs {need}",
            path.display()
        ))
        .hint(format!(
            "`truncate -s {}M {}`",
            need.next_power_of_two() >> 20,
            path.display()
        ))),
        Place::File { .. } => Ok(()),
        Place::Disk(disk) => permit_disk(disk, need, allowed(writing)),
    }
}

/// As [`permit`], for a disk.
///
/// # Errors
/// As [`permit`].
pub fn permit_disk(disk: &Disk, need: u64, allow: Allow) -> Result<(), Failure> {
    let refusals = judge(disk, need, allow);
    if refusals.is_empty() {
        return Ok(());
    }
    let words: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    let mut failure = Failure::new(format!(
        "refused to write to {}: {}",
        disk.path.display(),
        words.join("; ")
    ));
    // A flag is no way out while something speaks against it that no flag permits.
    let final_word = refusals.iter().any(|refusal| refusal.flag().is_none());
    for refusal in refusals.iter().filter(|r| !final_word || r.flag().is_none()) {
        failure = failure.hint(refusal.hint());
    }
    Err(failure)
}
