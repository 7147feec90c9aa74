//! The vocabulary of what will be done: plain data, made by the planner and the inputs, carried out by `edit`.
//!
//! This room knows words. It must not know files of the host, images or the network.

mod edit;
mod node;

pub use edit::{Attributes, Content, Edit, FileStamp, GrowRule, Op, Origin, Xattr};
pub use node::{
    Address, BasePlace, BaseRef, ClusterPlan, Identity, NodePlan, OutputFormat, OutputFormatError,
    StaticAddress,
};
