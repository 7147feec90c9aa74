//! The program in a folder of its own: nothing of the user's settings, cache or tools reaches it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// One run of `ceil-img`, described and then run.
///
/// The folder holds what `cluster`, `profile` and `file` put there and is the current folder of the run. `HOME` and
/// `CEIL_CACHE` are folders inside it, every other variable is unset, and `PATH` leads nowhere: the program must need no
/// outside tool.
#[must_use = "nothing happens until `run`"]
pub struct Test {
    dir: TempDir,
    args: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    umask: Option<u32>,
    user: Option<u32>,
    through: Vec<OsString>,
    status: Option<i32>,
    stdout: Option<String>,
    stdout_has: Vec<String>,
    stderr_has: Vec<String>,
    limit: Duration,
}

impl Test {
    /// A run in a fresh folder that must end with 0.
    pub fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap())
    }

    fn on(dir: TempDir) -> Self {
        let env = [
            ("PATH", dir.path().join("no-tools")),
            ("HOME", dir.path().join("home")),
            ("CEIL_CACHE", dir.path().join("cache")),
        ]
        .map(|(key, value)| (key.into(), value.into()))
        .into();
        fs::create_dir_all(dir.path().join("home")).unwrap();
        Self {
            dir,
            args: Vec::new(),
            env,
            umask: None,
            user: None,
            through: Vec::new(),
            status: Some(0),
            stdout: None,
            stdout_has: Vec::new(),
            stderr_has: Vec::new(),
            limit: Duration::from_secs(120),
        }
    }

    /// The folder of the run.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes `cluster.yaml`.
    pub fn cluster(self, yaml: &str) -> Self {
        self.file("cluster.yaml", yaml)
    }

    /// Lets programs come from a server of this process, as small files under the same names.
    pub fn programs(self) -> Self {
        self.file("artifacts.yaml", super::programs::catalog())
    }

    /// Writes `profiles/NAME.yaml`.
    pub fn profile(self, name: &str, yaml: &str) -> Self {
        self.file(&format!("profiles/{name}.yaml"), yaml)
    }

    /// Writes a file, and the folders above it.
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// Sets the permission bits of a file that is there.
    pub fn mode(self, path: &str, mode: u32) -> Self {
        fs::set_permissions(self.dir.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    /// Makes a symlink.
    pub fn symlink(self, path: &str, target: &str) -> Self {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.insert(key.into(), value.as_ref().to_owned());
        self
    }

    /// The cache folder, to share one between tests that only read it.
    pub fn cache(self, dir: &Path) -> Self {
        self.env("CEIL_CACHE", dir)
    }

    /// Sets the time zone.
    pub fn tz(self, zone: &str) -> Self {
        self.env("TZ", zone)
    }

    /// Sets the file mode creation mask.
    pub fn umask(mut self, mask: u32) -> Self {
        self.umask = Some(mask);
        self
    }

    /// Runs as this user and a group of the same number; the test itself must run as root.
    pub fn user(mut self, uid: u32) -> Self {
        self.user = Some(uid);
        self
    }

    /// Runs it by another program, such as `unshare -n`; an absolute path, and its arguments.
    pub fn through<S: AsRef<OsStr>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        self.through = command.into_iter().map(|a| a.as_ref().to_owned()).collect();
        self
    }

    /// The exit code to expect (0 unless set).
    pub fn status(mut self, code: i32) -> Self {
        self.status = Some(code);
        self
    }

    /// Takes any exit code: the test looks for itself.
    pub fn any_status(mut self) -> Self {
        self.status = None;
        self
    }

    /// The whole standard output to expect.
    pub fn stdout(mut self, text: &str) -> Self {
        self.stdout = Some(text.to_owned());
        self
    }

    /// A part of standard output to expect.
    pub fn stdout_has(mut self, text: &str) -> Self {
        self.stdout_has.push(text.to_owned());
        self
    }

    /// A part of standard error to expect.
    pub fn stderr_has(mut self, text: &str) -> Self {
        self.stderr_has.push(text.to_owned());
        self
    }

    /// How long it may take (120 s unless set).
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The command, for tests that start it themselves (to kill it, say).
    pub fn command(&self) -> Command {
        let program = env!("CARGO_BIN_EXE_ceil-img");
        let mut command = match self.umask {
            None => match self.through.split_first() {
                None => Command::new(program),
                Some((first, more)) => {
                    let mut command = Command::new(first);
                    command.args(more).arg(program);
                    command
                }
            },
            Some(mask) => {
                assert!(self.through.is_empty(), "a mask goes with no other program");
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", &format!("umask {mask:04o}; exec \"$0\" \"$@\""), program]);
                shell
            }
        };
        if let Some(uid) = self.user {
            command.uid(uid).gid(uid);
        }
        command
            .args(&self.args)
            .current_dir(self.dir.path())
            .env_clear()
            .envs(&self.env)
            .stdin(Stdio::null());
        command
    }

    /// Runs it and checks what was expected.
    ///
    /// # Panics
    /// When something is not as expected, or the time limit passes.
    pub fn run(self) -> Ran {
        if let Some(uid) = self.user {
            open_to(self.dir.path(), uid);
        }
        // Files, not pipes: nothing fills up, whatever the program prints.
        let mut stdout = tempfile::tempfile().unwrap();
        let mut stderr = tempfile::tempfile().unwrap();
        let mut command = self.command();
        let begin = Instant::now();
        let mut child = command
            .stdout(stdout.try_clone().unwrap())
            .stderr(stderr.try_clone().unwrap())
            .spawn()
            .unwrap();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if begin.elapsed() > self.limit {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!(
                    "{:?} did not end in {:?}\n{}",
                    self.args,
                    self.limit,
                    text(&mut stderr)
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let ran = Ran {
            stdout: text(&mut stdout),
            stderr: text(&mut stderr),
            code: status.code(),
            dir: self.dir,
        };
        let told = format!(
            "ceil-img {:?}: {status}\n--- stdout\n{}--- stderr\n{}",
            self.args, ran.stdout, ran.stderr
        );
        if let Some(code) = self.status {
            assert_eq!(ran.code, Some(code), "{told}");
        }
        if let Some(all) = &self.stdout {
            assert_eq!(&ran.stdout, all, "{told}");
        }
        for part in &self.stdout_has {
            assert!(ran.stdout.contains(part), "stdout lacks {part:?}\n{told}");
        }
        for part in &self.stderr_has {
            assert!(ran.stderr.contains(part), "stderr lacks {part:?}\n{told}");
        }
        assert!(!ran.stderr.contains("panicked at"), "{told}");
        ran
    }
}

/// Gives a folder and everything in it to a user.
fn open_to(path: &Path, uid: u32) {
    std::os::unix::fs::lchown(path, Some(uid), Some(uid)).unwrap();
    if fs::symlink_metadata(path).unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            open_to(&entry.unwrap().path(), uid);
        }
    }
}

fn text(file: &mut File) -> String {
    use std::io::Seek as _;
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A run that is over, and its folder.
pub struct Ran {
    dir: TempDir,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
}

impl Ran {
    /// A path in the folder.
    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// A file in the folder.
    pub fn read(&self, path: &str) -> Vec<u8> {
        let path = self.path(path);
        fs::read(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"))
    }

    /// Names in a folder of the folder, sorted; none when it is not there.
    pub fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(path)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Another run in the same folder, with what the first one left.
    pub fn again(self) -> Test {
        Test::on(self.dir)
    }
}

/// Runs what must be refused with exit code 1 and all of these words, in a folder whose `out` holds an older image:
/// that one stays as it was and nothing comes beside it.
pub fn refused(test: Test, words: &[&str]) -> Ran {
    let mut test = test.file("out/one.img", "an older image\n").status(1);
    for word in words {
        test = test.stderr_has(word);
    }
    let ran = test.run();
    assert!(
        ran.stderr.starts_with("error: ") || ran.stderr.contains("\nerror: "),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.read("out/one.img"), b"an older image\n");
    assert_eq!(ran.names("out"), ["one.img"], "{}", ran.stderr);
    ran
}
