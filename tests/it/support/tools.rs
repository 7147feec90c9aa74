//! Outside tools: found, or skipped with a visible word, or required.

use std::env;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where tools lie that an ordinary user's `PATH` lacks.
const MORE: [&str; 5] = [
    "/usr/sbin",
    "/sbin",
    "/usr/local/sbin",
    "/opt/homebrew/opt/e2fsprogs/sbin",
    "/usr/local/opt/e2fsprogs/sbin",
];

/// Whether a missing tool is a failure.
pub fn required() -> bool {
    env::var_os("CEIL_REQUIRE_TOOLS").is_some_and(|v| v == "1")
}

/// Says that a test, or a part of it, is skipped because a tool is missing.
///
/// # Panics
/// When tools are required.
pub fn skip(why: &str) {
    assert!(!required(), "CEIL_REQUIRE_TOOLS=1, but {why}");
    say(why);
}

/// Says that a part of a test is skipped for a reason that is no fault, such as not being root.
pub fn say(why: &str) {
    let name = std::thread::current().name().unwrap_or("test").to_owned();
    // Not `eprintln!`: the harness would keep it to itself.
    let line = format!("SKIPPED {name}: {why}\n");
    std::io::stderr().lock().write_all(line.as_bytes()).unwrap();
}

/// The path of a tool, if it is installed.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(MORE.iter().map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether all of these are there; skips with a visible word when one is not.
pub fn have(names: &[&str]) -> bool {
    let missing: Vec<&str> = names.iter().copied().filter(|n| find(n).is_none()).collect();
    if !missing.is_empty() {
        skip(&format!("{} is not installed", missing.join(", ")));
    }
    missing.is_empty()
}

/// Whether this process may mount: the superuser, on Linux.
pub fn is_root() -> bool {
    cfg!(target_os = "linux") && rustix::process::geteuid().is_root()
}

/// A command of a tool that [`have`] found, in the C locale and UTC.
pub fn command(name: &str) -> Command {
    let mut command = Command::new(find(name).unwrap_or_else(|| panic!("{name} is not installed")));
    command
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .env("MTOOLSRC", "/dev/null");
    command
}

/// Runs a command and gives its output whatever its exit code.
pub fn output(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|e| panic!("{command:?} did not start: {e}"))
}

/// Runs a command that must end with 0, and gives its standard output.
pub fn run(command: &mut Command) -> Vec<u8> {
    let out = output(command);
    assert!(
        out.status.success(),
        "{command:?}: {}\n{}{}",
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    out.stdout
}
