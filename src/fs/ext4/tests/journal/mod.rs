//! Dirty journals and orphans: what we make of them against what `e2fsck` and the kernel make of them.

mod crafted;
mod damage;
mod judge;
mod kernel;
mod orphans;
