//! The steps of the first boot, run with files in place of a card and programs in place of a system.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use super::overlays;
use crate::support::tools;

struct Card {
    dir: tempfile::TempDir,
}

impl Card {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["bin", "boot", "lib/steps", "state", "run"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("boot/config.txt"), "").unwrap();
        fs::write(dir.path().join("console"), "").unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn program(&self, name: &str, body: &str) {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("CEIL_LIB", self.path("lib"))
            .env("CEIL_STATE", self.path("state"))
            .env("CEIL_BOOT", self.path("boot"))
            .env("CEIL_RUN", self.path("run"))
            .env("CEIL_CONSOLE", self.path("console"))
            .env("CEIL_PAUSE", "1")
            .env("CARD", self.dir.path());
        command
    }

    /// The runner with a step.
    fn step(&self, name: &str) -> Command {
        let mut command = self.command(&overlays().join("first-boot/usr/local/lib/ceil/step"));
        command.arg(name);
        command
    }

    /// A step of the overlay itself.
    fn real_step(&self, name: &str) -> Command {
        let steps = overlays().join("first-boot/usr/local/lib/ceil/steps");
        self.command(&steps.join(name))
    }

    /// The same, run.
    fn real(&self, name: &str) -> Output {
        tools::output(&mut self.real_step(name))
    }
}

fn words(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let mut words = line.split_whitespace().skip(2);
        let step = words.next().unwrap_or_default();
        format!("{step} {}", words.collect::<Vec<_>>().join(" "))
    };
    text.lines().map(line).collect()
}

#[test]
fn f251_a_step_is_told_of_and_taken_once() {
    let card = Card::new();
    card.program("lib/steps/one", "echo run >>\"$CARD/runs\"");
    let out = tools::output(&mut card.step("one"));
    assert!(out.status.success());
    let log = card.text("boot/ceil-firstboot.log");
    let told = words(&log);
    assert!(
        told[0] == "one begin" && told[1].starts_with("one done "),
        "{log}"
    );
    let first = log.lines().next().unwrap();
    assert!(
        first.get(4..5) == Some("-") && first.contains("Z ") && first.contains("s one"),
        "{log}"
    );
    let console = card.text("console");
    assert!(
        console.starts_with("ceil-first-boot: one begin\r\nceil-first-boot: one done "),
        "{console}"
    );
    assert!(card.path("state/done/one").exists());
    assert!(tools::output(&mut card.step("one")).status.success());
    assert_eq!(
        card.text("runs"),
        "run\n",
        "a step that is done is not taken again"
    );
    assert_eq!(card.text("boot/ceil-firstboot.log"), log);
}

#[test]
fn f252_a_step_is_tried_until_it_succeeds_and_each_news_is_told_once() {
    let card = Card::new();
    card.program(
        "lib/steps/join",
        "n=$(cat \"$CARD/n\" 2>/dev/null || echo 0); echo $((n + 1)) >\"$CARD/n\"\n\
         case $n in\n0 | 1) echo 'nobody answers' >&2; exit 75 ;;\n\
         2) printf 'E1\\ntoken abcdef.0123456789abcdef or K10aabbccddeeff00112233::server:secret is wrong\\n\\n' >&2; exit 1 ;;\n\
         3) cp \"$CARD/state/failed/join\" \"$CARD/last\" ;;\nesac",
    );
    assert!(tools::output(&mut card.step("join")).status.success());
    let told = words(&card.text("boot/ceil-firstboot.log"));
    assert_eq!(
        told[..3],
        [
            "join begin",
            "join waiting nobody answers",
            "join failed token <token> or <token> is wrong"
        ]
    );
    assert!(told.len() == 4 && told[3].starts_with("join done "), "{told:?}");
    assert_eq!(card.text("last"), "token <token> or <token> is wrong\n");
    assert!(!card.path("state/failed/join").exists());
    for place in ["boot/ceil-firstboot.log", "console"] {
        assert!(!card.text(place).contains("secret"), "a token is told in {place}");
    }
}

#[test]
fn f252_power_may_be_cut_in_a_step() {
    let card = Card::new();
    card.program(
        "lib/steps/slow",
        "[ -e \"$CARD/again\" ] || { : >\"$CARD/begun\"; sleep 60; }",
    );
    let mut child = card.step("slow").spawn().unwrap();
    while !card.path("begun").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!card.path("state/done/slow").exists());
    fs::write(card.path("again"), "").unwrap();
    assert!(tools::output(&mut card.step("slow")).status.success());
    assert!(card.path("state/done/slow").exists());
}

#[test]
fn secrets_leave_the_fat_once_cloud_init_has_used_them() {
    let card = Card::new();
    card.program("bin/cloud-init", "");
    let secret = "#cloud-config\nusers:\n  - name: \"a\"\n    hashed_passwd: \"$y$\"\n";
    fs::create_dir_all(card.path("state/clean")).unwrap();
    for (name, text) in [("user-data", secret), ("network-config", "changed by somebody\n")] {
        fs::write(card.path("boot").join(name), text).unwrap();
        fs::write(card.path("state/clean").join(name), "clean\n").unwrap();
    }
    let digest = |text: &str| ceil_img::values::Digest::sha256(text.as_bytes()).hex().to_owned();
    fs::write(
        card.path("state/clean/SHA256SUMS"),
        format!(
            "{}  user-data\n{}  network-config\n",
            digest(secret),
            digest("planned\n")
        ),
    )
    .unwrap();
    let out = card.real("scrub");
    assert_eq!(out.status.code(), Some(75), "cloud-init has not read it yet");
    assert_eq!(card.text("boot/user-data"), secret);
    fs::create_dir_all(card.path("run/cloud-init")).unwrap();
    fs::write(card.path("run/cloud-init/result.json"), "{}").unwrap();
    let out = card.real("scrub");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(card.text("boot/user-data"), "clean\n");
    assert_eq!(card.text("boot/network-config"), "changed by somebody\n");
    assert!(card.real("scrub").status.success(), "it can be taken again");
}

#[test]
fn f079_the_clock_is_not_waited_for_without_a_way_out() {
    let card = Card::new();
    card.program(
        "bin/timedatectl",
        "case $* in *NTPSynchronized*) cat \"$CARD/synchronized\" ;; *) echo yes ;; esac",
    );
    card.program("bin/ip", "cat \"$CARD/routes\"");
    card.program(
        "bin/date",
        "case $1 in -s) echo \"$2\" >\"$CARD/set\" ;; +%s) echo 5 ;; *) echo 1970 ;; esac",
    );
    card.program("bin/stat", "echo 100");
    fs::write(card.path("synchronized"), "no\n").unwrap();
    fs::write(card.path("routes"), "").unwrap();
    let out = card.real("time");
    assert!(out.status.success());
    assert_eq!(
        card.text("set"),
        "@100\n",
        "a clock before the build is set to the build"
    );
    assert!(String::from_utf8_lossy(&out.stdout).contains("no way out"));
    fs::write(card.path("routes"), "default via 10.0.0.1\n").unwrap();
    let run = |patience: &str| tools::output(card.real_step("time").env("CEIL_TIME_PATIENCE", patience));
    let out = run("1");
    assert!(out.status.success());
    assert!(String::from_utf8_lossy(&out.stdout).contains("no time server answered within 1 s"));
    fs::write(card.path("synchronized"), "yes\n").unwrap();
    assert_eq!(String::from_utf8_lossy(&run("1000").stdout), "");
}

#[test]
fn f019_packages_of_the_card_need_no_network() {
    let card = Card::new();
    fs::create_dir_all(card.path("state/debs")).unwrap();
    fs::write(card.path("state/debs/a_1_all.deb"), "").unwrap();
    fs::write(card.path("state/debs/b_1_arm64.deb"), "").unwrap();
    card.program("bin/dpkg", "echo \"dpkg $*\" >>\"$CARD/did\"");
    card.program(
        "bin/apt-get",
        "echo \"apt $*\" >>\"$CARD/did\"; cat \"$CARD/answer\" 2>/dev/null && exit 100; exit 0",
    );
    assert!(card.real("debs").status.success());
    let did = card.text("did");
    let (first, second) = did.split_once('\n').unwrap();
    assert_eq!(first, "dpkg --configure -a", "what was cut off is finished first");
    for word in [
        "sourcelist=/dev/null",
        "sourceparts=-",
        "/a_1_all.deb",
        "/b_1_arm64.deb",
    ] {
        assert!(second.contains(word), "{second}");
    }
    // The package that is missing is named.
    let answer = "The following packages have unmet dependencies:\n a : Depends: libc9 but it is not installable\n\
                  E: Unable to correct problems, you have held broken packages.\n";
    fs::write(card.path("answer"), answer).unwrap();
    let out = card.real("debs");
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&out.stderr),
        "packages on the card cannot be installed: a : Depends: libc9 but it is not installable\n"
    );
}

#[test]
fn f046_the_locale_is_made_where_the_base_has_it_not() {
    let card = Card::new();
    fs::create_dir_all(card.path("etc")).unwrap();
    fs::write(card.path("etc/locale"), "de_DE.UTF-8\n").unwrap();
    card.program("bin/locale", "cat \"$CARD/there\"");
    card.program("bin/locale-gen", "echo made >>\"$CARD/did\"");
    let run = |there: &str| {
        fs::write(card.path("there"), there).unwrap();
        let out = tools::output(card.real_step("locale").env("CEIL_ETC", card.path("etc")));
        assert!(out.status.success());
        card.text("did")
    };
    assert_eq!(run("C\nde_DE.utf8\nPOSIX\n"), "", "it is there");
    assert_eq!(run("C\nen_GB.utf8\n"), "made\n");
}

/// What a join says of its cause, and whether it waits for its server or has failed.
#[test]
fn f110_p29_a_join_waits_for_a_server_that_went_away_and_names_other_causes() {
    let card = Card::new();
    for name in ["etc", "cgroup"] {
        fs::create_dir_all(card.path(name)).unwrap();
    }
    let config = "discovery:\n  bootstrapToken:\n    apiServerEndpoint: \"10.11.0.101:6443\"\n";
    fs::write(card.path("etc/kubeadm.yaml"), config).unwrap();
    fs::write(card.path("cgroup/cgroup.controllers"), "cpu memory pids\n").unwrap();
    card.program("bin/curl", "exit 0");
    card.program("bin/systemctl", "exit 0");
    card.program(
        "bin/kubeadm",
        "cat \"$CARD/answer\" >&2; [ ! -s \"$CARD/answer\" ]",
    );
    let run = || {
        let out = tools::output(
            card.real_step("cluster")
                .env("CEIL_KUBERNETES", card.path("etc"))
                .env("CEIL_CGROUP", card.path("cgroup")),
        );
        let stderr = String::from_utf8(out.stderr).unwrap();
        (
            out.status.code().unwrap(),
            stderr.lines().last().unwrap_or_default().to_owned(),
        )
    };
    for (answer, code, says) in [
        ("", 0, ""),
        (
            "error execution phase preflight: Get \"https://10.11.0.101:6443/api\": dial tcp 10.11.0.101:6443: \
             connect: no route to host\nTo see the stack trace of this error execute with --v=5\n",
            75,
            "the API at 10.11.0.101:6443 went away while this node joined",
        ),
        (
            "net/http: TLS handshake timeout\n",
            75,
            "the API at 10.11.0.101:6443 went away while this node joined",
        ),
        (
            "couldn't validate the identity of the API Server: Get \"https://10.11.0.101:6443/api\": net/http: request \
             canceled (Client.Timeout exceeded while awaiting headers)\n",
            75,
            "the API at 10.11.0.101:6443 went away while this node joined",
        ),
        (
            "configmaps \"cluster-info\" is forbidden: User \"system:anonymous\" cannot get resource\n",
            75,
            "the server at 10.11.0.101:6443 does not tell others of its cluster yet",
        ),
        (
            "could not find a JWS signature in the cluster-info ConfigMap for token ID \"aaaaaa\"\n",
            1,
            "the server does not know the token of this card",
        ),
        (
            "none of the public keys \"sha256:00\" are pinned\n",
            1,
            "the server's authority is not the one of this card",
        ),
        (
            "\t[ERROR Swap]: running with swap on is not supported\n",
            1,
            "Swap: running with swap on",
        ),
        ("something else\n", 1, "kubeadm join ended with 1: something else"),
    ] {
        fs::write(card.path("answer"), answer).unwrap();
        let (ended, said) = run();
        assert!(
            ended == code && said.starts_with(says),
            "{answer}: {ended} {said}"
        );
    }
    card.program("bin/curl", "exit 7");
    assert_eq!(
        run(),
        (75, "the API at 10.11.0.101:6443 does not answer yet".to_owned())
    );
    fs::write(card.path("cgroup/cgroup.controllers"), "cpu pids\n").unwrap();
    assert!(run().1.contains("lacks cgroup_enable=memory"));
}

/// The names of steps in the target, the units, and the folder of steps are the same; cloud-init's last stage, which waits
/// for multi-user.target, is not held up.
#[test]
fn f058_every_step_has_a_unit_and_the_target_wants_it() {
    let units = overlays().join("first-boot/etc/systemd/system");
    let mut steps: Vec<String> = fs::read_dir(overlays().join("first-boot/usr/local/lib/ceil/steps"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    steps.sort();
    let target = fs::read_to_string(units.join("ceil-first-boot.target")).unwrap();
    let listed = |key: &str| {
        let mut found: Vec<String> = target
            .lines()
            .filter_map(|line| line.strip_prefix(key))
            .flat_map(str::split_whitespace)
            .map(|unit| {
                unit.trim_start_matches("ceil-")
                    .trim_end_matches(".service")
                    .to_owned()
            })
            .collect();
        found.sort();
        found
    };
    assert_eq!(listed("Wants="), steps);
    assert_eq!(listed("After="), steps);
    assert!(target.contains("DefaultDependencies=no"));
    let ready = fs::read_to_string(units.join("ceil-ready.service")).unwrap();
    assert!(ready.contains("After=multi-user.target"));
    for step in &steps {
        let unit = fs::read_to_string(units.join(format!("ceil-{step}.service"))).unwrap();
        assert!(
            unit.contains(&format!("ConditionPathExists=!/var/lib/ceil/done/{step}\n")),
            "{step}"
        );
        assert!(
            unit.contains(&format!("ExecStart=/usr/local/lib/ceil/step {step}\n")),
            "{step}"
        );
    }
}

/// What a cut left of layers is forgotten before archives are loaded again: containerd would take it for whole.
#[test]
fn f252_images_of_an_interrupted_load_are_loaded_anew() {
    let card = Card::new();
    for name in ["state/images", "state/done"] {
        fs::create_dir_all(card.path(name)).unwrap();
    }
    fs::write(card.path("state/images/a.tar"), "a").unwrap();
    fs::write(card.path("state/images/b.tar"), "b").unwrap();
    // The second archive does not come to its end the first time.
    card.program(
        "bin/ctr",
        "echo \"$*\" >>\"$CARD/ctr\"\n\
         case $* in\n\
         *'leases list -q') echo lease-1 ;;\n\
         *'images list -q') echo example.test/a:1 ;;\n\
         *b.tar) [ -e \"$CARD/whole\" ] || exit 1 ;;\n\
         esac",
    );
    assert!(!card.real("images").status.success());
    assert!(card.path("state/done/image-a.tar").exists());
    let first = card.text("ctr");
    assert!(
        !first.contains("remove"),
        "nothing was there to be forgotten: {first}"
    );
    fs::write(card.path("whole"), "").unwrap();
    fs::write(card.path("ctr"), "").unwrap();
    assert!(card.real("images").status.success());
    let calls: Vec<String> = card.text("ctr").lines().map(str::to_owned).collect();
    let at = |part: &str| {
        calls
            .iter()
            .position(|call| call.contains(part))
            .unwrap_or_else(|| panic!("{part}: {calls:?}"))
    };
    assert!(at("leases delete lease-1") < at("images remove --sync example.test/a:1"));
    assert!(at("images remove --sync") < at("a.tar") && at("a.tar") < at("b.tar"));
    // All is whole: nothing is loaded or forgotten again.
    fs::write(card.path("ctr"), "").unwrap();
    assert!(card.real("images").status.success());
    let calls = card.text("ctr");
    assert!(!calls.contains("import") && !calls.contains("remove"), "{calls}");
}
