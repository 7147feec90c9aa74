//! `flash` and its kin: which disks may be written, what is written in which order, faults, loop devices as cards.

mod asked;
mod cards;
mod faults;
mod files;
mod killed;
mod loops;
mod machines;
mod named;
mod objects;
