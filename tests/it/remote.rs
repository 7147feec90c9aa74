//! Nodes are found, asked and spoken to. In the place of ssh stands a script that writes down what it is told and
//! answers as a file says; nodes are addresses of the loopback on which something listens.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;

use crate::support::cli::{Ran, Test};

/// Writes down its words, then answers as `answers/HOST.sh` does, which gets the command and what there is to read.
const SSH: &str = "#!/bin/sh\n\
# One write, as several of these run at once.\n\
line=$(for word; do printf '[%s]' \"$word\"; done)\n\
printf '%s\\n' \"$line\" >>\"$LOG\"\n\
while [ \"$1\" != -- ]; do shift; done\n\
exec sh \"$ANSWERS/$2.sh\" \"$3\"\n";

const CLUSTER: &str = "
cluster: {name: c}
network: {lan: 127.0.0.0/24, gateway: 127.0.0.10}
kubernetes: {distribution: k3s}
defaults: {base: demo, swap: off, ssh: {host-key: true}, users: {admin: {groups: [sudo]}}}
nodes:
  - {name: router, profile: p, role: router, accept: [F146], address: 127.0.0.10/24}
  - {name: one, profile: p, role: server, address: 127.0.0.11/24}
  - {name: two, profile: p, role: agent, address: 127.0.0.12/24}
  - {name: three, profile: p, role: agent}
  - {name: four, profile: p, role: agent, interfaces: {eth0: {mac: dc:a6:32:00:00:04}}}
";

/// What `three` and `four` have, which the cluster file does not say.
const THREE: &str = "127.0.0.13";
const FOUR: &str = "127.0.0.14";

/// An answer to the probe.
fn probe(lines: &str) -> String {
    format!("cat >/dev/null\ncat <<'END'\nWelcome!\nprobe=1\n{lines}END\n")
}

fn well(node: &str) -> String {
    probe(&format!(
        "hostname={node}\nready=yes\nversion=k3s version v1.36.4+k3s1 (1a2b3c4d)\nkubelet=ok\nthrottled=throttled=0x0\n\
         uptime=11100\n"
    ))
}

/// Nodes on one port of several addresses; they are there as long as this is.
struct Nodes {
    port: u16,
    _listening: Vec<TcpListener>,
}

impl Nodes {
    fn on(ips: &[&str]) -> Self {
        for _ in 0..50 {
            let first = TcpListener::bind((ips[0], 0)).unwrap();
            let port = first.local_addr().unwrap().port();
            let more: Result<Vec<TcpListener>, _> =
                ips[1..].iter().map(|ip| TcpListener::bind((*ip, port))).collect();
            if let Ok(mut listening) = more {
                listening.push(first);
                return Self {
                    port,
                    _listening: listening,
                };
            }
        }
        panic!("no port is free on all of {ips:?}");
    }

    fn all() -> Self {
        Self::on(&["127.0.0.10", "127.0.0.11", "127.0.0.12", THREE, FOUR])
    }
}

/// Answers the second question for `three.local`, on the loopback, and leaves all others without one. The bytes are
/// those of RFC 1035, put together by hand.
fn responder() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut asked = 0;
        let mut buffer = [0; 1500];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let name = &buffer[12..len - 4];
            if name != b"\x05three\x05local\0" {
                continue;
            }
            asked += 1;
            if asked < 2 {
                continue;
            }
            let mut answer = b"\0\0\x84\0\0\0\0\x01\0\0\0\0".to_vec();
            answer.extend(name);
            answer.extend(b"\0\x01\x80\x01\0\0\0\x78\0\x04");
            answer.extend(THREE.parse::<Ipv4Addr>().unwrap().octets());
            socket.send_to(&answer, from).unwrap();
        }
    });
    address
}

fn cluster() -> Test {
    let test = Test::new()
        .cluster(CLUSTER)
        .profile("p", "description: p\n")
        .file("bin/ssh", SSH)
        .mode("bin/ssh", 0o755);
    let ran = on_path(test).args(["-q", "kubeconfig", "-o", "-"]).run();
    assert!(ran.stdout.contains("https://127.0.0.11:6443"), "{}", ran.stdout);
    on_path(ran.again())
}

fn on_path(test: Test) -> Test {
    let (log, answers) = (test.dir().join("log"), test.dir().join("answers"));
    let path = format!("{}:/usr/bin:/bin", test.dir().join("bin").display());
    test.env("PATH", path).env("LOG", log).env("ANSWERS", answers)
}

/// Without names, which would be asked of the resolver of this machine.
fn reaching(nodes: &Nodes, mdns: SocketAddr) -> Vec<String> {
    let words = [
        "--find",
        "address,mdns,lease",
        "--interface",
        "127.0.0.1",
        "--mdns",
    ];
    let mut words: Vec<String> = words.iter().map(ToString::to_string).collect();
    words.extend([mdns.to_string(), "--port".to_owned(), nodes.port.to_string()]);
    words
}

fn status(test: Test, nodes: &Nodes, words: &[&str], code: i32) -> Ran {
    test.args(["status", "--timeout", "8s"])
        .args(reaching(nodes, responder()))
        .args(words)
        .status(code)
        .run()
}

fn answer(test: Test, ip: &str, script: &str) -> Test {
    test.file(&format!("answers/{ip}.sh"), script)
}

/// The words of the table, row by row, without its head.
fn rows(ran: &Ran) -> Vec<Vec<String>> {
    ran.stdout
        .lines()
        .skip(1)
        .map(|line| {
            line.split("  ")
                .filter(|w| !w.is_empty())
                .map(|w| w.trim().to_owned())
                .collect()
        })
        .collect()
}

/// The router's answer: the leases, and as the second file is not there, a failure.
const ROUTER: &str = "case $1 in cat*) echo '1764170000 dc:a6:32:00:00:04 127.0.0.14 * *'; exit 1 ;; esac\n";

#[test]
fn f161_f249_p15_p57_every_node_is_found_and_tells_how_it_is() {
    let nodes = Nodes::all();
    let test = answer(cluster(), "127.0.0.10", &format!("{ROUTER}{}", well("router")));
    let test = answer(test, "127.0.0.11", &well("one"));
    let test = answer(
        test,
        "127.0.0.12",
        &probe(
            "hostname=two\nready=no\ndone=modules\nfailed=cluster: no route to 127.0.0.11\nthrottled=throttled=0x50001\n\
             uptime=59\n",
        ),
    );
    let test = answer(
        test,
        THREE,
        &probe("hostname=three\nready=no\nstep=images\nkubelet=no answer\n"),
    );
    let test = answer(test, FOUR, &well("four"));
    let ran = status(test, &nodes, &[], 1);
    let expected = [
        "router|127.0.0.10|address|ok|ok|v1.36.4+k3s1|3h 5m|ok|ready",
        "one|127.0.0.11|address|ok|ok|v1.36.4+k3s1|3h 5m|ok|ready",
        "two|127.0.0.12|address|ok|-|-|59s|under-voltage now, throttled since boot|failed cluster: no route to 127.0.0.11",
        "three|127.0.0.13|mdns|ok|no answer|-|-|-|step images",
        "four|127.0.0.14|lease|ok|ok|v1.36.4+k3s1|3h 5m|ok|ready",
    ];
    let found: Vec<String> = rows(&ran).iter().map(|row| row.join("|")).collect();
    assert_eq!(found, expected, "{}", ran.stdout);
    // One call a node, and one for the leases; each as the planned host and for nobody to answer.
    let log = String::from_utf8(ran.read("log")).unwrap();
    assert_eq!(log.lines().count(), 6, "{log}");
    for line in log.lines() {
        assert!(
            line.contains("[BatchMode=yes]")
                && line.contains("[StrictHostKeyChecking=yes]")
                && line.contains("[-l][admin]"),
            "{line}"
        );
    }
    assert!(log.contains("[HostKeyAlias=four]"), "{log}");

    let ran = status(on_path(ran.again()), &nodes, &["--json", "two", "four"], 1);
    let objects: Vec<serde_json::Value> = ran
        .stdout
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let [two, four] = &objects[..] else {
        panic!("{}", ran.stdout)
    };
    assert_eq!(two["failed"][0]["step"], "cluster");
    assert_eq!(
        (&two["ready"], &two["throttled"]),
        (&false.into(), &0x50001.into())
    );
    assert_eq!((&four["ready"], &four["found"]), (&true.into(), &"lease".into()));

    // All is well when all are ready.
    let test = answer(on_path(ran.again()), "127.0.0.12", &well("two"));
    status(answer(test, THREE, &well("three")), &nodes, &["--all"], 0);
}

/// F161: by the resolver, here by the one name that every machine knows.
#[test]
fn f161_a_node_is_found_by_its_name() {
    let nodes = Nodes::on(&["127.0.0.1"]);
    let test = on_path(Test::new())
        .cluster("cluster: {name: c}\nnodes: [{name: one, hostname: localhost, profile: p, base: demo}]\n")
        .profile("p", "description: p\n")
        .file("bin/ssh", SSH)
        .mode("bin/ssh", 0o755);
    let port = nodes.port.to_string();
    answer(test, "127.0.0.1", &well("localhost"))
        .args(["status", "one", "--find", "name", "--port", &port])
        .stdout_has("127.0.0.1  name      ok")
        .run();
}

/// P15: another machine at the planned address is told, and passed over where the node itself is found.
#[test]
fn p15_f249_what_is_not_the_node_is_told() {
    let nodes = Nodes::on(&["127.0.0.10", "127.0.0.11", "127.0.0.12"]);
    let changed = "cat >/dev/null\necho '@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @' >&2\n\
                   echo 'Host key verification failed.' >&2\nexit 255\n";
    let test = answer(cluster(), "127.0.0.10", &format!("{ROUTER}{changed}"));
    let test = answer(test, "127.0.0.11", &well("printer"));
    let test = answer(
        test,
        "127.0.0.12",
        "echo 'admin@127.0.0.12: Permission denied (publickey).' >&2\nexit 255\n",
    );
    let ran = status(test, &nodes, &[], 1);
    let found: Vec<String> = rows(&ran).iter().map(|row| row[..4].join("|")).collect();
    let expected = [
        "router|127.0.0.10|address|wrong host key",
        "one|127.0.0.11|address|another host (printer)",
        "two|127.0.0.12|address|login denied",
        "three|127.0.0.13|mdns|refused",
        "four|127.0.0.14|lease|refused",
    ];
    assert_eq!(found, expected, "{}", ran.stdout);
    // The router leased the planned address of `one` to the printer, and another one to `one`.
    let leases = format!(
        "case $1 in cat*) echo '1 aa:bb:cc:00:00:01 127.0.0.11 printer *'; echo '1 * 127.0.0.12 one *'; exit 1 ;; esac\n{changed}"
    );
    let test = answer(on_path(ran.again()), "127.0.0.10", &leases);
    let test = answer(test, "127.0.0.12", &well("one"));
    let ran = status(test, &nodes, &["one"], 0);
    assert_eq!(rows(&ran)[0][..4].join("|"), "one|127.0.0.12|lease|ok");
    // Nothing says where `four` is.
    let ran = on_path(ran.again())
        .args(["status", "four", "--find", "address"])
        .status(1)
        .run();
    assert_eq!(rows(&ran)[0][..4].join("|"), "four|-|-|no address");
    let ran = on_path(ran.again())
        .args(["status", "for"])
        .status(1)
        .stderr_has("did you mean `four`?")
        .run();
    let ran = on_path(ran.again())
        .args(["--offline", "status"])
        .status(1)
        .stderr_has("--offline")
        .run();
    ran.again()
        .env("PATH", "/nowhere")
        .args(["status", "one", "--find", "address"])
        .args(["--port", &nodes.port.to_string()])
        .status(1)
        .stderr_has("openssh-client")
        .run();
}

/// The account's shell on the node, as sshd calls it.
const SHELL: &str = "exec sh -c \"$1\"\n";

#[test]
fn f250_a_command_on_one_node_or_all() {
    let nodes = Nodes::all();
    let mut test = cluster();
    for ip in ["127.0.0.11", "127.0.0.12"] {
        test = answer(test, ip, SHELL);
    }
    let words = reaching(&nodes, responder());
    let ran = test
        .args(["run", "--on", "one,two"])
        .args(&words)
        .args(["printf", "<%s>\\n", "", "a  b", "it's", "$HOME", "`id`", ";", "*"])
        .stderr_has("done on 2 of 2 nodes")
        .run();
    for node in ["one", "two"] {
        let lines: Vec<&str> = ran
            .stdout
            .lines()
            .filter_map(|l| l.strip_prefix(&format!("{node} | ")))
            .collect();
        assert_eq!(
            lines,
            ["<>", "<a  b>", "<it's>", "<$HOME>", "<`id`>", "<;>", "<*>"]
        );
    }
    // One fails, one is not there; the summary names both, and the others are done all the same.
    let test = answer(on_path(ran.again()), "127.0.0.11", "echo up\n");
    let ran = answer(test, "127.0.0.12", "echo no >&2\nexit 3\n")
        .args(["run", "--on", "one,two,four", "--sudo", "--parallel", "2"])
        .args(&words)
        .args(["--", "uptime", "-p"])
        .status(1)
        .stdout("one  | up\n")
        .stderr_has("two  | no")
        .stderr_has("done on 1 of 3 nodes; failed on two (exit code 3), four (node `four` is not reached")
        .run();
    let log = String::from_utf8(ran.read("log")).unwrap();
    assert!(log.contains("[sudo -n -- uptime -p]\n"), "{log}");

    // A reboot cuts the connection; that is no error of a reboot, and one of anything else.
    let cut = "echo 'Connection to 127.0.0.12 closed by remote host.' >&2\nexit 255\n";
    let mut ran = ran;
    for (command, code) in [(&["--sudo", "reboot"][..], 0), (&["uptime"], 1)] {
        ran = on_path(answer(ran.again(), "127.0.0.12", cut))
            .args(["run", "--on", "two"])
            .args(&words)
            .args(command)
            .status(code)
            .run();
    }
    // A node that was never reached was not rebooted.
    let refused = "echo 'ssh: connect to host 127.0.0.12 port 22: Connection refused' >&2\nexit 255\n";
    let ran = on_path(answer(ran.again(), "127.0.0.12", refused))
        .args(["run", "--on", "two"])
        .args(&words)
        .args(["reboot"])
        .status(1)
        .stderr_has("two (refused)")
        .run();
    let ran = on_path(answer(ran.again(), "127.0.0.11", SHELL))
        .args(["--json", "run", "--on", "one"])
        .args(&words)
        .args(["sh", "-c", "echo a; echo b >&2; exit 4"])
        .status(1)
        .run();
    let objects: Vec<serde_json::Value> = ran
        .stdout
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let of = |event: &str| objects.iter().filter(|o| o["event"] == event).collect::<Vec<_>>();
    assert_eq!(of("output").len(), 2, "{}", ran.stdout);
    assert_eq!(of("ran")[0]["code"], 4);
    ran.again().args(["run", "uptime"]).status(2).run();
}

#[test]
fn f250_ssh_takes_the_place_of_the_program() {
    let nodes = Nodes::all();
    let test = answer(cluster(), "127.0.0.11", "echo \"<$1>\"\nexit 7\n");
    let words = reaching(&nodes, responder());
    let ran = test
        .args(["ssh", "one"])
        .args(&words)
        .args(["--", "echo", "a b"])
        .status(7)
        .stdout("<echo 'a b'>\n")
        .run();
    let log = String::from_utf8(ran.read("log")).unwrap();
    assert!(!log.contains("BatchMode"), "{log}");
    // The planned key and nothing else is in the file, which nobody needs to hide.
    let file = log
        .split("[UserKnownHostsFile=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let known = std::fs::read_to_string(file).unwrap();
    assert_eq!(known.lines().count(), 5);
    assert!(!known.contains("PRIVATE"));
    let exported = ran.again().args(["export", "known-hosts"]).run();
    let key = |text: &str, start: &str| {
        let line = text.lines().find(|l| l.starts_with(start)).unwrap();
        line.split_once(' ').unwrap().1.to_owned()
    };
    assert_eq!(key(&known, "one "), key(&exported.stdout, "one,"));
    let ran = on_path(exported.again())
        .args(["ssh", "four"])
        .args(&words)
        .status(1)
        .stderr_has("node `four` is not reached: nothing says which address it has")
        .run();
    // A file of the user says where the node is; nothing is looked for.
    let ran = answer(on_path(ran.again()), "four", "echo there\n")
        .args(["ssh", "four", "--ssh-config", "boot.conf"])
        .stdout("there\n")
        .run();
    let log = String::from_utf8(ran.read("log")).unwrap();
    let last = log.lines().last().unwrap();
    assert!(
        last.starts_with("[-F][boot.conf][-o][HostKeyAlias=four]") && !last.contains("[-l]"),
        "{last}"
    );
}

#[test]
fn f118_the_kubeconfig_comes_from_secrets_or_the_server() {
    let ran = cluster().args(["kubeconfig"]).stdout("kubeconfig\n").run();
    let made = ran.read("kubeconfig");
    let mode = |ran: &Ran, path: &str| ran.path(path).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&ran, "kubeconfig"), 0o600);
    let ran = ran
        .again()
        .programs()
        .args(["-q", "build", "two", "--format", "none"])
        .run();
    assert_eq!(made, ran.read("out/kubeconfig"), "as `build` makes it");
    let nodes = Nodes::all();
    let words = reaching(&nodes, responder());
    // The server's own is for the loopback; here it leads to the server.
    let server = "test \"$1\" = 'sudo -n cat /etc/rancher/k3s/k3s.yaml' || exit 9\n\
                  printf 'clusters:\\n- cluster:\\n    server: https://127.0.0.1:6443\\n  name: default\\n'\n";
    let ran = answer(on_path(ran.again()), "127.0.0.11", server)
        .args(["kubeconfig", "c", "--fetch", "-o", "conf/fetched"])
        .args(&words)
        .stdout("conf/fetched\n")
        .run();
    let text = String::from_utf8(ran.read("conf/fetched")).unwrap();
    assert!(text.contains("    server: https://127.0.0.11:6443\n"), "{text}");
    assert_eq!(mode(&ran, "conf/fetched"), 0o600);
    // What is no kubeconfig replaces none.
    for (script, why) in [
        (
            "echo 'sudo: a password is required' >&2; exit 1\n",
            "a password is required",
        ),
        ("echo hello\n", "no kubeconfig"),
    ] {
        let failed = answer(on_path(Test::new()), "127.0.0.11", script)
            .cluster(CLUSTER)
            .profile("p", "description: p\n")
            .file("bin/ssh", SSH)
            .mode("bin/ssh", 0o755)
            .file("kubeconfig", "older\n")
            .args(["kubeconfig", "--fetch"])
            .args(&words)
            .status(1)
            .stderr_has(why)
            .run();
        assert_eq!(failed.read("kubeconfig"), b"older\n");
    }
    ran.again()
        .args(["kubeconfig", "other"])
        .status(1)
        .stderr_has("there is no cluster `other`")
        .run();
}

#[test]
fn f197_a_token_for_the_web_page() {
    let nodes = Nodes::all();
    let words = reaching(&nodes, responder());
    let server = "echo \"$1\" >\"$LOG.command\"\necho eyJhbGciOi.short.lived\n";
    let ran = answer(cluster(), "127.0.0.11", server)
        .args(["token"])
        .args(&words)
        .stdout("eyJhbGciOi.short.lived\n")
        .run();
    let asked = |ran: &Ran| String::from_utf8(ran.read("log.command")).unwrap();
    assert_eq!(
        asked(&ran),
        "sudo -n /usr/local/bin/k3s kubectl create token headlamp-viewer --namespace headlamp --duration 3600s\n"
    );
    let ran = on_path(ran.again())
        .args(["token", "robot", "--duration", "15m", "--namespace", "ci"])
        .args(&words)
        .run();
    assert!(
        asked(&ran).contains("create token robot --namespace ci --duration 900s"),
        "{}",
        asked(&ran)
    );
    let missing = "echo 'error: serviceaccounts \"headlamp-viewer\" not found' >&2\nexit 1\n";
    let ran = answer(on_path(ran.again()), "127.0.0.11", missing)
        .args(["token"])
        .args(&words)
        .status(1)
        .stderr_has("not found")
        .stderr_has("the add-on `headlamp` makes this account")
        .run();
    ran.again().args(["token", "--duration", "soon"]).status(2).run();
}
