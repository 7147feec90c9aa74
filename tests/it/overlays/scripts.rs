//! The scripts of the overlays, run with files and small programs in place of disks and boards.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::overlays;
use crate::support::tools;

/// A folder with a script of an overlay, and stand-ins for programs that win over the system's.
struct Stage {
    dir: tempfile::TempDir,
    script: PathBuf,
}

impl Stage {
    fn new(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        let script = overlays().join(script);
        Self { dir, script }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> &Self {
        fs::write(self.path(name), text).unwrap();
        self
    }

    fn program(&self, name: &str, body: &str) -> &Self {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn run(&self, args: &[&str], env: &[(&str, &Path)]) -> Output {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(&self.script);
        command
            .args(args)
            .env(
                "PATH",
                format!("{}:{path}:/usr/sbin:/sbin", self.path("bin").display()),
            )
            .envs(env.iter().copied());
        tools::output(&mut command)
    }
}

fn said(out: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    )
}

/// A disk of 8 MiB that tells the serial number 4711, with or without a file system, and maybe a consent.
fn disk(file_system: bool, consent: Option<&str>) -> Stage {
    let stage = Stage::new("disks/usr/local/sbin/ceil-prepare-disk");
    let image = stage.path("disk.img");
    fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
    if file_system {
        tools::run(
            tools::command("mkfs.ext4")
                .args(["-q", "-L", "photos"])
                .arg(&image),
        );
    }
    stage
        .file(
            "mounts",
            &format!("# disks\n{} /mnt/data ext4 defaults data 2\n", image.display()),
        )
        .program(
            "lsblk",
            "case $* in *SERIAL*) echo 4711 ;; *NAME*) eval echo \\$$# ;; esac",
        )
        .program("udevadm", ":");
    if let Some(serial) = consent {
        stage.file("wipe-consent", &format!("# consent\nother 1\ndata {serial}\n"));
    }
    stage
}

fn prepare(stage: &Stage) -> (bool, String, bool) {
    let before = fs::read(stage.path("disk.img")).unwrap();
    let out = stage.run(&["data"], &[("CEIL_ETC", stage.dir.path())]);
    let untouched = fs::read(stage.path("disk.img")).unwrap() == before;
    (out.status.success(), said(&out), untouched)
}

/// P34: no consent, another disk, or a disk in use: nothing is written.
#[test]
fn f089_a_disk_is_left_alone_without_consent() {
    if !tools::have(&["mkfs.ext4", "blkid", "wipefs"]) {
        return;
    }
    for (file_system, consent, ends_well, word) in [
        (true, None, true, "holds ext4, no consent to wipe; left alone"),
        (false, None, true, "holds nothing, no consent to wipe; left alone"),
        (
            true,
            Some("4712"),
            false,
            "consent is for the serial number 4712, but this disk has 4711; left alone",
        ),
    ] {
        let (well, said, untouched) = prepare(&disk(file_system, consent));
        assert!(
            well == ends_well && said.contains(word) && untouched,
            "{word}: {said}"
        );
    }
    let stage = disk(true, Some("4711"));
    stage.program(
        "lsblk",
        "case $* in *SERIAL*) echo 4711 ;; *MOUNTPOINT*) echo /mnt/photos ;; esac",
    );
    let (well, said, untouched) = prepare(&stage);
    assert!(
        !well && untouched && said.contains("is in use at /mnt/photos; left alone"),
        "{said}"
    );

    let stage = disk(true, Some("4711"));
    stage.file("mounts", "LABEL=photos /mnt/data ext4 defaults data 2\n");
    let (well, said, untouched) = prepare(&stage);
    assert!(
        !well && untouched && said.contains("name the disk by its id"),
        "{said}"
    );
}

/// The wipe happens once: a second run, as after the card was written anew, leaves the data.
#[test]
fn f089_a_disk_is_wiped_once_with_consent() {
    if !tools::have(&["mkfs.ext4", "blkid", "wipefs", "e2label"]) {
        return;
    }
    for file_system in [true, false] {
        let stage = disk(file_system, Some("4711"));
        let (well, said, untouched) = prepare(&stage);
        assert!(well && !untouched, "{said}");
        let label = tools::run(tools::command("e2label").arg(stage.path("disk.img")));
        assert_eq!(String::from_utf8(label).unwrap().trim(), "ceil-data");
        let (well, said, untouched) = prepare(&stage);
        assert!(
            well && untouched && said.contains("was prepared earlier; left alone"),
            "{said}"
        );
    }
}

/// F182: what a backup holds can be restored, an interrupted one is not left, old ones go.
#[test]
fn f182_a_backup_is_restorable_and_bounded() {
    let stage = Stage::new("backup/usr/local/sbin/ceil-backup");
    let (data, target) = (stage.path("volumes"), stage.path("backup"));
    fs::create_dir_all(data.join("a folder")).unwrap();
    fs::write(data.join("a folder/file"), "kept\n").unwrap();
    for old in [
        "2024-01-01-023000",
        "2024-01-02-023000",
        "2024-01-03-023000",
        ".unfinished.1",
        "mine",
    ] {
        fs::create_dir_all(target.join(old)).unwrap();
    }
    let config = stage.path("backup.conf");
    let text = format!(
        "target={}\nkeep=2\nmariadb=yes\npath={}\npath=/is/not/there\n",
        target.display(),
        data.display()
    );
    fs::write(&config, &text).unwrap();
    let config = config.to_str().unwrap();

    stage.program("mariadb-dump", "echo 'half a dump'; exit 2");
    let out = stage.run(&[config], &[]);
    assert!(
        !out.status.success() && said(&out).contains("the dump failed"),
        "{}",
        said(&out)
    );
    assert_eq!(
        fs::read_dir(&target).unwrap().count(),
        4,
        "nothing new, nothing old gone, the unfinished one gone"
    );

    stage.program("mariadb-dump", "echo 'CREATE DATABASE app;'");
    let out = stage.run(&[config], &[]);
    assert!(out.status.success(), "{}", said(&out));
    assert!(
        said(&out).contains("/is/not/there is not there, left out"),
        "{}",
        said(&out)
    );
    let mut names: Vec<String> = fs::read_dir(&target)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        (names.len(), names[0].as_str(), names[2].as_str()),
        (3, "2024-01-03-023000", "mine")
    );
    let new = target.join(&names[1]);
    assert_eq!(fs::metadata(&new).unwrap().permissions().mode() & 0o777, 0o700);

    tools::run(
        Command::new("sha256sum")
            .args(["--quiet", "-c", "SHA256SUMS"])
            .current_dir(&new),
    );
    let sql = tools::run(Command::new("gunzip").arg("-c").arg(new.join("mariadb.sql.gz")));
    assert_eq!(sql, b"CREATE DATABASE app;\n");
    let back = stage.path("restored");
    fs::create_dir(&back).unwrap();
    let archive = format!(
        "{}.tar.gz",
        data.to_str().unwrap().trim_start_matches('/').replace('/', "-")
    );
    tools::run(
        Command::new("tar")
            .arg("-xzpf")
            .arg(new.join(archive))
            .arg("-C")
            .arg(&back),
    );
    let file = back.join(data.strip_prefix("/").unwrap()).join("a folder/file");
    assert_eq!(fs::read_to_string(file).unwrap(), "kept\n");
}

/// A web server that answers as Cloudflare does, and notes what it was asked.
const SERVER: &str = r#"
import http.server, json, sys
log = open(sys.argv[1], "a", buffering=1)
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        log.write(" ".join([self.command, self.path, self.headers.get("Authorization") or "-", body]) + "\n")
        if self.path == "/trace":
            text = "fl=1\nh=1.2.3.4\nip=203.0.113.7\nts=1\n"
        elif self.command == "GET":
            text = json.dumps({"result": [{"zone_id": "f" * 32, "id": "a" * 32}] if "name=home" in self.path else []})
        else:
            text = "{}"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())
    do_GET = do_POST = do_PATCH = answer
    def log_message(self, *args): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"#;

/// F152: the record gets the public address; nothing is asked again while that stays; no list of processes has the token.
#[test]
fn f152_a_record_follows_the_address() {
    use std::io::BufRead as _;
    if !tools::have(&["python3", "curl"]) {
        return;
    }
    let stage = Stage::new("ddns/usr/local/sbin/ceil-ddns");
    let log = stage.path("log");
    let mut server = tools::command("python3")
        .args(["-c", SERVER])
        .arg(&log)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut port = String::new();
    let mut lines = std::io::BufReader::new(server.stdout.take().unwrap());
    lines.read_line(&mut port).unwrap();
    let api = format!("http://127.0.0.1:{}", port.trim());
    let zone = "0123456789abcdef0123456789abcdef";
    let curl = tools::find("curl").unwrap();
    stage.file("token", "scoped-token\n").program(
        "curl",
        &format!(
            "echo \"$@\" >>{}\nexec {} \"$@\"",
            stage.path("args").display(),
            curl.display()
        ),
    );
    let run = |record: &str| {
        let conf = format!(
            "provider=cloudflare\nrecord={record}\napi={api}\nzone={zone}\nlookup={api}/trace\nttl=60\n"
        );
        stage.file("conf", &conf);
        let of = |name: &str| stage.path(name).to_str().unwrap().to_owned();
        stage.run(
            &[&of("conf"), &of("token"), &of("state")],
            &[("no_proxy", Path::new("127.0.0.1"))],
        )
    };
    let outs = [
        run("home.example.org"),
        run("home.example.org"),
        run("new.example.org"),
    ];
    // Our own child, by its handle.
    server.kill().unwrap();
    server.wait().unwrap();
    for out in &outs {
        assert!(out.status.success(), "{}", said(out));
    }
    let asked = fs::read_to_string(&log).unwrap();
    let body = |name: &str| {
        format!(r#"{{"type":"A","name":"{name}","content":"203.0.113.7","ttl":60,"proxied":false}}"#)
    };
    let records = format!("/zones/{zone}/dns_records");
    let bearer = "Bearer scoped-token";
    assert_eq!(
        asked.lines().collect::<Vec<_>>(),
        [
            "GET /trace - ",
            &format!("GET {records}?type=A&name=home.example.org {bearer} "),
            &format!(
                "PATCH {records}/{} {bearer} {}",
                "a".repeat(32),
                body("home.example.org")
            ),
            "GET /trace - ",
            "GET /trace - ",
            &format!("GET {records}?type=A&name=new.example.org {bearer} "),
            &format!("POST {records} {bearer} {}", body("new.example.org")),
        ]
    );
    let args = fs::read_to_string(stage.path("args")).unwrap();
    assert!(
        args.contains("dns_records") && !args.contains("scoped-token"),
        "{args}"
    );
}

/// F090: the file has all its blocks, and is not made where it would fill the root (P35).
#[test]
fn f090_a_loop_file_needs_room() {
    let stage = Stage::new("loop-disk/usr/local/sbin/ceil-loop-disk");
    let file = stage.path("disk.img");
    stage.program(
        "losetup",
        &format!(
            "case $* in --*) : ;; *) echo \"$@\" >>{} ;; esac",
            stage.path("bound").display()
        ),
    );
    let run = |size: &str| {
        let conf = format!(
            "file={}\nsize={size}\nspare=1MiB\ndevice=/dev/loop9\n",
            file.display()
        );
        stage.file("conf", &conf);
        stage.run(&["start", stage.path("conf").to_str().unwrap()], &[])
    };
    let out = run("900TiB");
    assert!(
        !out.status.success() && said(&out).contains("has the root been grown yet?"),
        "{}",
        said(&out)
    );
    assert!(!file.exists());
    let out = run("3MiB");
    assert!(out.status.success(), "{}", said(&out));
    let meta = fs::metadata(&file).unwrap();
    assert_eq!((meta.len(), meta.permissions().mode() & 0o777), (3 << 20, 0o600));
    assert!(
        std::os::unix::fs::MetadataExt::blocks(&meta) * 512 >= 3 << 20,
        "every block is there"
    );
    let bound = fs::read_to_string(stage.path("bound")).unwrap();
    assert_eq!(bound.trim(), format!("/dev/loop9 {}", file.display()));
}

/// F024: the card reports what the board's memory says, where another computer can read it.
#[test]
fn f024_the_boot_bit_is_reported() {
    for (dump, word) in [
        ("echo 16:00280000; echo 17:3020000a", "boots from USB"),
        ("echo 17:1020000a", "does not boot from USB: row 17 is 1020000a"),
        ("exit 1", "cannot be read"),
    ] {
        let stage = Stage::new("usb-boot-bit/usr/local/sbin/ceil-usb-boot-bit");
        stage
            .file("config.txt", "")
            .file("model", "Raspberry Pi 3 Model B\0")
            .program("vcgencmd", dump);
        let env = [
            ("CEIL_BOOT", stage.dir.path()),
            ("CEIL_MODEL", &stage.path("model")),
        ];
        let out = stage.run(&[], &env.map(|(k, v)| (k, v)));
        assert!(out.status.success(), "{}", said(&out));
        let report = fs::read_to_string(stage.path("usb-boot-bit.txt")).unwrap();
        assert!(
            report.starts_with("Raspberry Pi 3 Model B") && report.contains(word),
            "{report}"
        );
    }
}
