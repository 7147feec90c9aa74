//! One test binary for everything that needs more than one room: the program, images, outside judges.
//!
//! `CEIL_REQUIRE_TOOLS=1` turns a missing outside tool from a visible skip into a failure.

// A failed expectation is a failed test here, and skips must be seen.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout, missing_docs)]

mod bad_base;
mod bases;
mod docs;
mod emission;
mod fat;
mod pipeline;
mod plan;
mod random_edits;
mod second_editor;
mod support;
mod walls;
