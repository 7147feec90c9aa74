//! One test binary for everything that needs more than one room: the program, images, outside judges.
//!
//! `CEIL_REQUIRE_TOOLS=1` turns a missing outside tool from a visible skip into a failure.

// A failed expectation is a failed test here, and skips must be seen.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    missing_docs
)]

mod addons;
mod bad_base;
mod bad_edits;
mod bad_host;
mod bases;
mod boot;
mod build_sets;
mod cached;
mod commands;
mod debs;
mod determinism;
mod diff;
mod dirty;
mod docs;
mod dump;
mod emission;
mod export;
mod families;
mod fat;
mod features;
mod flash;
mod flavour;
mod fleet;
mod gates;
mod host_faults;
mod io_faults;
mod killed;
mod kubernetes;
mod lint;
mod lock;
mod look;
mod model;
mod overlays;
mod passwords;
mod pipeline;
mod plan;
mod programs;
mod random_edits;
mod refused;
mod remote;
mod rig;
mod rows;
mod second_editor;
mod secrets;
mod sets;
mod sshd;
mod supply;
mod support;
mod teardown;
mod walls;
mod wishes;
