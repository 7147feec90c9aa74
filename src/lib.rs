//! ceil-img builds SD-card images for Raspberry Pi Kubernetes clusters.
//!
//! Data flows one way: `cluster.yaml` and profiles → [`spec`] → [`plan`] → [`fetch`] → [`disk`] (the image, a
//! copy-on-write overlay over an untouched base) → [`edit`] → [`emit`].

pub mod catalog;
pub mod disk;
pub mod fetch;
pub mod fs;
pub mod plan;
pub mod report;
pub mod values;
