//! What is typed for cards.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::nodes::duration;

/// What is permitted, and how a card is written.
#[derive(Debug, Clone, Args)]
pub struct Writing {
    /// Ask nothing; needed where there is no terminal.
    #[arg(long, short, visible_short_alias = 'f', visible_alias = "force")]
    pub yes: bool,

    /// Permit a disk that cannot be taken out, or of which the system does not say so.
    #[arg(long)]
    pub allow_fixed: bool,

    /// Permit a disk of more than 512 GiB.
    #[arg(long)]
    pub allow_large: bool,

    /// Permit a part of a volume group, an array or a pool that is not in use.
    #[arg(long)]
    pub allow_member: bool,

    /// Where the device is not yours to write: run the writer, and nothing else, as root by `sudo`.
    #[arg(long)]
    pub sudo: bool,

    /// Leave the card where it is afterwards instead of ejecting it.
    #[arg(long)]
    pub no_eject: bool,

    /// How long a card may take for one request of 1 MiB.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub patience: Duration,
}

/// `flash`
#[derive(Debug, Args)]
#[command(
    after_help = "A regular file may stand for DEVICE, for trials: `truncate -s 8G card.img`.\n\n\
    Flags of hypriot/flash mean what they mean there: IMAGE -d DEVICE -n HOST -s SSID -p PSK -u user-data -m meta-data \
    -C config.txt -F FILE -f."
)]
pub struct Flash {
    /// `DEVICE [NODE]`, several `NODE=DEVICE`, or with `--device` an IMAGE.
    #[arg(value_name = "DEVICE|NODE=DEVICE|IMAGE", required_unless_present_any = ["all", "device"])]
    pub what: Vec<String>,

    /// Walk through the cluster: ask for a card for each node in turn.
    #[arg(long, conflicts_with_all = ["what", "image", "device"])]
    pub all: bool,

    /// Write this image, a file or an address, instead of a node. A `.bmap` or `.sha256` beside a file is checked.
    #[arg(long, value_name = "FILE|URL")]
    pub image: Option<String>,

    /// The cluster file; with an IMAGE, a file for the top folder of the boot volume (several times).
    #[arg(long, short = 'F', value_name = "FILE")]
    pub file: Vec<PathBuf>,

    /// Use this base instead of the profile's: a catalog name, a URL, a file, or `demo`.
    #[arg(long, value_name = "NAME|URL|PATH")]
    pub base: Option<String>,

    /// Directory of built images: the node that was built last is written when none is named.
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,

    /// Refuse inputs that `ceil.lock` does not have.
    #[arg(long)]
    pub locked: bool,

    /// Say what would be written where, and touch nothing.
    #[arg(long)]
    pub dry_run: bool,

    /// Write every byte of the image, also those that no file system uses.
    #[arg(long)]
    pub full: bool,

    /// Tell the device first that all its blocks are free, where it knows how.
    #[arg(long)]
    pub discard: bool,

    /// Trust the size that the card tells.
    #[arg(long)]
    pub no_probe: bool,

    #[command(flatten)]
    pub writing: Writing,

    /// The device, with an IMAGE.
    #[arg(long, short, value_name = "DEVICE", help_heading = "An image with a name")]
    pub device: Option<String>,

    /// Host name.
    #[arg(
        long,
        short = 'n',
        value_name = "HOST",
        requires = "device",
        help_heading = "An image with a name"
    )]
    pub hostname: Option<crate::values::Hostname>,

    /// Name of the WiFi.
    #[arg(long, short, value_name = "SSID", requires_all = ["device", "wifi_country"], help_heading = "An image with a name")]
    pub ssid: Option<String>,

    /// Passphrase of the WiFi; `-` asks for it without showing it. An argument can be read by everyone on this machine
    /// while the program runs.
    #[arg(
        long,
        short,
        value_name = "PSK",
        requires = "ssid",
        help_heading = "An image with a name"
    )]
    pub password: Option<String>,

    /// Country whose rules for radio hold, such as `DE`; without one, radios stay off.
    #[arg(
        long,
        value_name = "CC",
        requires = "ssid",
        help_heading = "An image with a name"
    )]
    pub wifi_country: Option<String>,

    /// `user-data` of cloud-init; begins with `#cloud-config`.
    #[arg(
        long,
        short,
        value_name = "FILE",
        requires = "device",
        help_heading = "An image with a name"
    )]
    pub userdata: Option<PathBuf>,

    /// `meta-data` of cloud-init.
    #[arg(
        long,
        short,
        value_name = "FILE",
        requires = "device",
        help_heading = "An image with a name"
    )]
    pub metadata: Option<PathBuf>,

    /// `network-config` of cloud-init.
    #[arg(
        long,
        value_name = "FILE",
        requires = "device",
        help_heading = "An image with a name"
    )]
    pub network_config: Option<PathBuf>,

    /// `config.txt` of the firmware.
    #[arg(
        long,
        short = 'C',
        value_name = "FILE",
        requires = "device",
        help_heading = "An image with a name"
    )]
    pub bootconf: Option<PathBuf>,
}

/// `devices`
#[derive(Debug, Args)]
pub struct Devices {
    /// Every disk, with the reason why it is no card.
    #[arg(long)]
    pub all: bool,
}

/// `reconfigure`
#[derive(Debug, Args)]
pub struct Reconfigure {
    /// The card.
    #[arg(value_name = "DEVICE")]
    pub device: String,

    /// The node that it is to be.
    #[arg(value_name = "NODE")]
    pub node: String,

    #[command(flatten)]
    pub cluster: super::ClusterArgs,

    /// Refuse inputs that `ceil.lock` does not have.
    #[arg(long)]
    pub locked: bool,

    /// Say what would be written, and touch nothing.
    #[arg(long)]
    pub dry_run: bool,

    #[command(flatten)]
    pub writing: Writing,
}

/// `backup`
#[derive(Debug, Args)]
pub struct Backup {
    /// The card.
    #[arg(value_name = "DEVICE")]
    pub device: String,

    /// The image; its ending chooses the format: `.img`, `.img.xz`, `.img.zst` or `.img.gz`.
    #[arg(value_name = "FILE")]
    pub to: PathBuf,
}
