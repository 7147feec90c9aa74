//! The `ceil-img` program: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ceil_img::cli::main()
}
