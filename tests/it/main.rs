//! The public interface, judged by outsiders.

#![allow(clippy::unwrap_used)]

mod fat;
