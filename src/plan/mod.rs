//! The vocabulary of what will be done: plain data, made by the planner and the inputs, carried out by `edit`.
//!
//! This room knows words. It must not know files of the host, images or the network.

mod digest;
mod edit;
mod finding;
mod node;
mod print;
mod wishes;

pub use digest::{DigestParts, plan_digest};
pub use edit::{Attributes, Content, Edit, FileStamp, GrowRule, Op, Origin, Xattr};
pub use finding::{Finding, Severity};
pub use node::{
    Address, BasePlace, BaseRef, ClusterPlan, Identity, NodePlan, OutputFormat, OutputFormatError, Program,
    StaticAddress,
};
pub use print::edit_json;
pub use wishes::{
    Host, HostKeyFiles, Interface, PasswordHashes, Ssh, Swap, Unit, UnitState, User, Wifi, Wishes,
};
