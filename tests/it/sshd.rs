//! A real sshd on the loopback judges what ssh is told: with the planned host key, and with another one.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::cli::{Ran, Test};
use crate::support::tools;

/// An sshd that ends with the test.
struct Sshd(Child);

impl Drop for Sshd {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Sshd {
    fn start(dir: &Path, host_key: &Path, port: u16) -> Self {
        let config = dir.join(format!("sshd-{port}.conf"));
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PidFile none\nPasswordAuthentication no\n",
            host_key.display(),
            dir.join("id.pub").display()
        );
        fs::write(&config, text).unwrap();
        if tools::is_root() {
            // Where it gives up its rights; the service makes it at boot.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let child = tools::command("sshd")
            .args(["-D", "-e", "-f"])
            .arg(&config)
            .stderr(fs::File::create(dir.join(format!("sshd-{port}.log"))).unwrap())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(20), "sshd does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self(child)
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn keygen(path: &Path) {
    tools::run(
        tools::command("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(path),
    );
}

fn first_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).trim().to_owned()
}

#[test]
fn f249_f250_p15_the_planned_host_key_is_checked_by_ssh_itself() {
    if !tools::have(&["sshd", "ssh", "ssh-keygen", "id"]) {
        return;
    }
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim().split('.').next().unwrap().to_lowercase();
    let cluster = format!(
        "cluster: {{name: c}}\ndefaults: {{base: demo, ssh: {{host-key: true}}}}\nnodes:\n  \
         - {{name: one, hostname: {host}, profile: p}}\n  - {{name: two, profile: p}}\n"
    );
    let built = Test::new()
        .cluster(&cluster)
        .profile("p", "description: p\n")
        .args(["-q", "build", "one"])
        .run();
    // The key as the card has it.
    let ran = built
        .again()
        .args(["cat", "out/one.img", "root:/etc/ssh/ssh_host_ed25519_key"])
        .run();
    let dir = ran.path("");
    let key = ran.path("host_key");
    fs::write(&key, &ran.stdout).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    keygen(&ran.path("other_key"));
    keygen(&ran.path("id"));
    let (right, wrong) = (free_port(), free_port());
    let _right = Sshd::start(&dir, &key, right);
    let _wrong = Sshd::start(&dir, &ran.path("other_key"), wrong);
    let user = first_line(&tools::run(tools::command("id").arg("-un")));
    let config = |name: &str, port: u16| {
        format!(
            "Host {name}\n  HostName 127.0.0.1\n  Port {port}\n  User {user}\n  IdentityFile {}\n  IdentitiesOnly yes\n",
            dir.join("id").display()
        )
    };
    let test = ran
        .again()
        .file("right.conf", config("one", right) + &config("two", right))
        .file("wrong.conf", config("one", wrong));
    let go = |test: Test, words: &[&str]| -> Ran {
        test.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .args(words)
            .any_status()
            .run()
    };

    let ran = go(test, &["--json", "status", "one", "--ssh-config", "right.conf"]);
    let seen: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(seen["ssh"], "ok", "{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(seen["address"], format!("127.0.0.1:{right}"));
    assert!(seen["uptime"].is_u64(), "{seen}");

    // A real shell hands on what was given.
    let ran = go(
        ran.again(),
        &[
            "run",
            "--on",
            "one",
            "--ssh-config",
            "right.conf",
            "printf",
            "<%s>",
            "it's",
            "$HOME",
            " *",
        ],
    );
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "one | <it's><$HOME>< *>\n"),
        "{}",
        ran.stderr
    );
    let ran = go(
        ran.again(),
        &[
            "ssh",
            "one",
            "--ssh-config",
            "right.conf",
            "--",
            "sh",
            "-c",
            "echo here; exit 7",
        ],
    );
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(7), "here\n"),
        "{}",
        ran.stderr
    );

    // Another key is told as such, and nothing is run; the same where the key of another node answers.
    let mut ran = ran;
    for (node, file) in [("one", "wrong.conf"), ("two", "right.conf")] {
        ran = go(ran.again(), &["--json", "status", node, "--ssh-config", file]);
        let seen: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(
            (&seen["ssh"], ran.code),
            (&"wrong host key".into(), Some(1)),
            "{}",
            ran.stderr
        );
    }
    let ran = go(
        ran.again(),
        &["run", "--on", "one", "--ssh-config", "wrong.conf", "true"],
    );
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("one (wrong host key)"), "{}", ran.stderr);
    let ran = go(
        ran.again(),
        &["ssh", "one", "--ssh-config", "wrong.conf", "--", "true"],
    );
    assert_eq!(ran.code, Some(255), "{}", ran.stderr);
}
