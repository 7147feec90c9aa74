//! Carrying out edits.
//!
//! An [`Edit`](crate::plan::Edit) says what is to become of an image. Most kinds are one call on a
//! [`Volume`](crate::fs::Volume); those that depend on what is there (kernel arguments, config.txt, fstab, hosts)
//! are text in, text out, and live in [`amend`], where they can be tested without an image.
//!
//! This room knows plans, images and file systems. It must not know the cluster file, templates or the network.

pub mod amend;
