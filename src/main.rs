//! The `ceil-img` program.
fn main() {}
