//! Small checked values: a value of one of these types is already known to be legal.
//!
//! This room knows text forms and ranges. It must not know files, images or the network.

mod address;
mod arch;
mod byte_size;
mod calendar;
mod checksum_state;
mod digest;
mod hex;
mod hostname;
mod image_path;
mod net;
mod owner;
mod text_form;

pub use address::shown_url;
pub use arch::{Arch, ArchError, DebName, ELF_HEAD, WrongMachine, check_machine, elf_machine};
pub use byte_size::{ByteSize, ByteSizeError};
pub use calendar::civil;
pub use checksum_state::ChecksumState;
pub use digest::{Digest, DigestError, DigestKind, Hasher};
pub use hex::hex;
pub use hostname::{Hostname, HostnameError};
pub use image_path::{ImagePath, ImagePathError, VolumeName};
pub use net::{MacAddr, NetError, Network4, Range4, ipv4};
pub use owner::{Mode, ModeError, Owner, OwnerError, Timestamp};
