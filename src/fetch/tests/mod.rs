//! The room as a whole, against files made by the usual tools and against a server on loopback that misbehaves.

mod archives;
mod cache;
mod download;
mod formats;
mod prune;
mod requests;
mod support;
