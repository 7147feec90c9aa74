//! ceil-img builds SD-card images for Raspberry Pi Kubernetes clusters.
//!
//! Data flows one way: `cluster.yaml` and profiles → [`spec`] → [`plan`] → [`fetch`] → [`disk`] (the image, a
//! copy-on-write overlay over an untouched base) → [`edit`] → [`emit`].

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests ask the environment for tools and numbers of rounds"
    )
)]

pub mod amend;
pub mod base_os;
pub mod bmap;
pub mod catalog;
pub mod cli;
pub mod demo;
pub mod diff;
pub mod disk;
pub mod edit;
pub mod emit;
pub mod fetch;
pub mod fs;
pub mod image;
pub mod inputs;
pub mod plan;
pub mod planner;
pub mod report;
pub mod spec;
pub mod template;
pub mod values;
