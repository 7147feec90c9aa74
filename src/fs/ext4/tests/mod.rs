//! Judged by outsiders: `e2fsck -fn`, the kernel's own mount, `resize2fs`, and a second reader.
//!
//! Without `mke2fs` a test says so and passes; without the right to mount, the kernel's view is left out.

mod check;
mod dump;
mod faults;
mod grow;
mod hostile;
mod journal;
mod lab;
mod limits;
mod matrix;
mod mkfs;
mod model;
mod place;
mod random;
mod rows;
mod support;
