//! ceil-img builds SD-card images for Raspberry Pi Kubernetes clusters: no root, no mount, no loop device.
//!
//! Data flows one way, and each arrow is a room or two:
//!
//! ```text
//! cluster.yaml, profiles ─ inputs, spec ─▶ ClusterSpec ─ planner ─▶ NodePlan ─ fetch ─▶ a verified base
//!     ─ disk, image ─▶ an overlay over it ─ base_os, edit ─▶ the finished image ─ emit ─▶ files
//! ```
//!
//! | room | knows |
//! | --- | --- |
//! | [`values`], [`report`] | small checked values; progress that is told, not drawn |
//! | [`spec`], [`board`], [`catalog`], [`inputs`], [`template`] | what the user wants, what exists, how it is read |
//! | [`artifacts`], [`lock`] | programs and image archives by name; what every input was, so that it stays so |
//! | [`sets`] | directories of whole clusters, to begin with |
//! | [`addon`] | headers of add-ons, and rules over a list of them |
//! | [`secrets`] | keys, certificates, tokens and hashes of a cluster |
//! | [`flavour`] | what k3s and kubeadm need on a node: files, units and values, and which versions fit together |
//! | [`plan`], [`planner`] | what will be done, as data; how that is decided, without touching anything |
//! | [`lint`] | what is wrong or unwise in a cluster, before anything is built |
//! | [`export`] | the cluster in the words of other programs |
//! | [`fetch`] | downloads, digests, packings, the cache |
//! | [`disk`], [`fs`], [`image`] | block access and the overlay; tables; ext4 and FAT in place |
//! | [`base_os`], [`amend`], [`edit`] | what a base is and how it takes its identity; texts; edits carried out |
//! | [`cloud_config`] | what is wrong with the seed files of cloud-init |
//! | [`rows`] | what must be true of a finished image, row by row |
//! | [`bmap`], [`emit`], [`diff`], [`dump`] | block maps, outputs that appear complete, what differs between two images, every byte explained |
//! | [`flash`] | cards: which may be written, writing, reading back |
//! | [`boot`] | emulated boards and the Ethernet between them, to try a cluster before a card is written |
//! | [`remote`] | running nodes: where one is, what it says of itself, a command on it |
//! | [`demo`], [`sys`] | a small base made on the spot; what the system does for files and devices |
//! | [`cli`] | everything, and nothing names it |
//!
//! The image is a copy-on-write [`Overlay`](disk::Overlay) over a base that is never written, so an edit costs only
//! what it changes:
//!
//! ```
//! use ceil_img::disk::{Bytes, Source};
//! use ceil_img::fs::Attrs;
//! use ceil_img::image::Image;
//! use ceil_img::values::VolumeName;
//!
//! let base: std::sync::Arc<dyn Source> = ceil_img::demo::image()?;
//! let mut image = Image::open(base)?;
//! let motd = Bytes::shared(b"hello\n");
//! image
//!     .volume_mut(VolumeName::Root)?
//!     .put_file(b"/etc/motd", &motd, false, &Attrs::default())?;
//! image.commit()?;
//!
//! let changed: u64 = image.overlay.spans().iter().map(|(_, span)| span.len).sum();
//! assert!(changed < 100_000, "a small edit changes a few blocks");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests ask the environment for tools and numbers of rounds"
    )
)]

pub mod addon;
pub mod amend;
pub mod artifacts;
pub mod base_os;
pub mod bmap;
pub mod board;
pub mod boot;
pub mod catalog;
pub mod cli;
pub mod cloud_config;
pub mod demo;
pub mod diff;
pub mod disk;
pub mod dump;
pub mod edit;
pub mod emit;
pub mod export;
pub mod fetch;
pub mod flash;
pub mod flavour;
pub mod fs;
pub mod image;
pub mod inputs;
pub mod lint;
pub mod lock;
pub mod plan;
pub mod planner;
pub mod remote;
pub mod report;
pub mod rows;
pub mod secrets;
pub mod sets;
pub mod spec;
pub mod sys;
pub mod template;
pub mod values;
