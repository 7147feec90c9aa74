//! What tests stand on: tools, base images, outside judges, the program in a folder of its own, faulty devices.

// Tests of one area use one part of it.
#![allow(dead_code)]

pub mod bases;
pub mod cli;
pub mod faulty;
pub mod judge;
pub mod noise;
pub mod programs;
pub mod releases;
#[path = "../../../src/fetch/test_server.rs"]
pub mod test_server;
pub mod tiny;
pub mod tools;
pub mod view;
