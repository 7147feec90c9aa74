//! Finished images in QEMU: what the firmware of a board would start, the machine, and the Ethernet between machines.
//!
//! This room knows QEMU, what the firmware reads on the boot volume, and frames. It starts processes and listens on
//! sockets in folders that it is given. It must not know the terminal, cluster files or plans; time comes in as the
//! seconds since the start.

mod config;
mod console;
mod drive;
mod fault;
mod firmware;
mod forward;
mod lab;
mod lan;
mod machine;
mod process;
mod segment;

pub use console::{Console, State};
pub use drive::{Content, Drive, WantedDisk};
pub use fault::{Fault, FaultError};
pub use firmware::{Firmware, FirmwareError};
pub use forward::{Forward, Protocol, WantedPort};
pub use lab::{Change, Lab, Slot};
pub use lan::{Lan, LanError, Member, Wire, plan_lan, stable_mac};
pub use machine::{Disk, Kind, Link, Machine, Nic, gateway};
pub use process::{BootError, Process, find_program};
pub use segment::Segment;
