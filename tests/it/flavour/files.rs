//! Files of k3s, units, modes, and texts that try to break out.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use ceil_img::flavour::{Cni, Endpoint, Flavour, Item, Proxy, Role, SwapUse, k3s};
use ceil_img::plan::{Op, Origin};
use serde_json::json;

use super::{cluster, k3s_node, kubeadm_node, lay_out, node, options, read_back, secrets, text};
use crate::support::tools;

const K3S: &str = "v1.36.4+k3s1";
const CONFIG: &str = "/etc/rancher/k3s/config.yaml";

#[test]
fn f102_f111_f112_the_configuration_of_a_server() {
    let files = k3s_node(&cluster(K3S, 1), &node("one", Role::FirstServer), 1);
    let Some(read) = read_back("yaml", text(&files, CONFIG)) else {
        return;
    };
    let mut config = read[0].clone();
    let map = config.as_object_mut().unwrap();
    let tokens = [
        map.shift_remove("token").unwrap(),
        map.shift_remove("agent-token").unwrap(),
    ];
    assert!(tokens[0].as_str().unwrap().starts_with("K10"));
    assert_eq!(tokens[1], secrets(Flavour::K3s, 1)["k3s-agent-token"].reveal());
    assert_eq!(
        config,
        json!({
            "tls-san": ["api.ceil.home.arpa", "10.11.0.101", "one"],
            "write-kubeconfig-mode": "0600",
            "cluster-cidr": "10.244.0.0/16",
            "service-cidr": "10.96.0.0/16",
            "cluster-domain": "cluster.local",
            "disable": ["traefik"],
            "advertise-address": "10.11.0.101",
            "node-name": "one",
            "node-ip": "10.11.0.101",
            "flannel-iface": "eth0",
            "node-label": ["disk=ssd", "on=yes"],
            "node-taint": ["dedicated=db:NoSchedule"],
            "kubelet-arg": [
                "eviction-hard=memory.available<64Mi,nodefs.available<5%",
                "system-reserved=memory=128Mi",
            ],
        })
    );
}

#[test]
fn f101_the_configuration_of_an_agent_has_nothing_of_a_server() {
    let mut two = node("two", Role::Agent);
    two.ip = None;
    two.interface = None;
    two.taints = None;
    two.labels.clear();
    two.kubelet = Default::default();
    let files = k3s_node(&cluster(K3S, 1), &two, 1);
    let Some(read) = read_back("yaml", text(&files, CONFIG)) else {
        return;
    };
    let keys: Vec<&String> = read[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["server", "token", "node-name"]);
    assert_eq!(read[0]["server"], "https://api.ceil.home.arpa:6443");
    let names: Vec<&str> = files.units.iter().map(|u| u.name.as_str()).collect();
    assert_eq!(
        names,
        ["k3s-agent.service"],
        "P64: an agent has no unit of a server"
    );
    assert!(files.file("/etc/systemd/system/k3s.service").is_none());
}

#[test]
fn f100_three_servers_make_one_cluster() {
    let mut three = cluster(K3S, 3);
    three.first_server = Some(Endpoint {
        host: "10.11.0.101".to_owned(),
        port: 6443,
    });
    let config = |role| {
        let files = k3s_node(&three, &node("n", role), 1);
        read_back("yaml", text(&files, CONFIG)).map(|mut read| read.remove(0))
    };
    let (Some(first), Some(other), Some(agent)) = (
        config(Role::FirstServer),
        config(Role::Server),
        config(Role::Agent),
    ) else {
        return;
    };
    assert_eq!(first["cluster-init"], true);
    assert!(first.get("server").is_none());
    assert_eq!(other["server"], "https://10.11.0.101:6443");
    assert!(other.get("cluster-init").is_none());
    assert_eq!(other["token"], first["token"]);
    assert_eq!(agent["server"], "https://api.ceil.home.arpa:6443");
    // Each server has the same authorities.
    let authorities = |role| -> Vec<Item> {
        let files = k3s_node(&three, &node("n", role), 1);
        let items = files.items.into_iter();
        items.filter(|i| i.path().contains("/server/tls")).collect()
    };
    assert_eq!(authorities(Role::FirstServer), authorities(Role::Server));
    assert_eq!(authorities(Role::Agent), []);
    // One server alone needs no etcd.
    let alone = k3s_node(&cluster(K3S, 1), &node("n", Role::FirstServer), 1);
    assert!(!text(&alone, CONFIG).contains("cluster-init"));
}

#[test]
fn f084_f085_registries() {
    let files = k3s_node(&cluster(K3S, 1), &node("two", Role::Agent), 1);
    let Some(read) = read_back("yaml", text(&files, "/etc/rancher/k3s/registries.yaml")) else {
        return;
    };
    assert_eq!(
        read[0],
        json!({"mirrors": {
            "docker.io": {"endpoint": ["http://10.11.0.1:5000"]},
            "10.11.0.1:5001": {"endpoint": ["http://10.11.0.1:5001"]},
        }})
    );
    let mut bare = cluster(K3S, 1);
    bare.registries = Default::default();
    let files = k3s_node(&bare, &node("two", Role::Agent), 1);
    assert!(files.file("/etc/rancher/k3s/registries.yaml").is_none());
}

#[test]
fn f071_swap_for_pods_in_k3s() {
    let config = |swap, version: &str| {
        let mut two = node("two", Role::Agent);
        two.kubelet.swap = swap;
        let files = k3s_node(&cluster(version, 1), &two, 1);
        let kubelet = files.file("/etc/rancher/k3s/kubelet.yaml").is_some();
        let behaviour = kubelet.then(|| text(&files, "/etc/rancher/k3s/kubelet.yaml").to_owned());
        (text(&files, CONFIG).to_owned(), behaviour)
    };
    let (flags, file) = config(SwapUse::Limited, K3S);
    assert!(flags.contains("\"fail-swap-on=false\""), "{flags}");
    assert!(
        flags.contains("\"config=/etc/rancher/k3s/kubelet.yaml\""),
        "{flags}"
    );
    let Some(read) = read_back("yaml", &file.unwrap()) else {
        return;
    };
    assert_eq!(
        read[0],
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "failSwapOn": false,
            "memorySwap": {"swapBehavior": "LimitedSwap"},
        })
    );
    assert!(config(SwapUse::NotForPods, K3S).1.unwrap().contains("NoSwap"));
    assert!(
        config(SwapUse::Limited, "v1.29.0+k3s1")
            .1
            .unwrap()
            .contains("NodeSwap: true")
    );
    let (flags, file) = config(SwapUse::Limited, "v1.21.0+k3s1");
    assert!(flags.contains("fail-swap-on=false") && file.is_none());
    let (flags, file) = config(SwapUse::None, K3S);
    assert!(!flags.contains("swap") && file.is_none());
}

#[test]
fn p25_f102_p62_no_secret_is_open_and_no_unit_holds_one() {
    let proxied = |version: &str| {
        let mut cluster = cluster(version, 1);
        cluster.proxy = Some(Proxy {
            url: "http://user:pass$word@10.11.0.1:3128".to_owned(),
            except: vec![".home.arpa".to_owned()],
        });
        cluster
    };
    for role in [Role::FirstServer, Role::Agent] {
        for (flavour, files) in [
            (Flavour::K3s, k3s_node(&proxied(K3S), &node("n", role), 1)),
            (
                Flavour::Kubeadm,
                kubeadm_node(&proxied("1.36.4"), &node("n", role), &options(), 1),
            ),
        ] {
            let secrets = secrets(flavour, 1);
            let mut secret_files = 0;
            for item in &files.items {
                let Item::File { path, content, mode } = item else {
                    continue;
                };
                let said = text(&files, path);
                let holds = said.contains("PRIVATE KEY")
                    || said.contains("pass")
                    || secrets.values().any(|s| said.contains(s.reveal()));
                if holds {
                    secret_files += 1;
                    assert_eq!((mode.0, content.is_secret()), (0o600, true), "{path}");
                    assert!(!path.ends_with(".service") && !path.ends_with(".conf"), "{path}");
                }
            }
            assert!(secret_files >= 2, "{role:?}");
        }
    }
}

#[test]
fn f086_the_proxy_and_what_goes_without_it() {
    let mut with = cluster(K3S, 1);
    with.proxy = Some(Proxy {
        url: "http://u:a\"b$c`d\\e@10.11.0.1:3128".to_owned(),
        except: vec!["10.11.0.0/25".to_owned()],
    });
    let files = k3s_node(&with, &node("two", Role::Agent), 1);
    let env = text(&files, "/etc/systemd/system/k3s-agent.service.env");
    assert_eq!(
        env,
        "HTTP_PROXY=\"http://u:a\\\"b\\$c\\`d\\\\e@10.11.0.1:3128\"\n\
         HTTPS_PROXY=\"http://u:a\\\"b\\$c\\`d\\\\e@10.11.0.1:3128\"\n\
         NO_PROXY=\"127.0.0.0/8,localhost,10.244.0.0/16,10.96.0.0/16,.svc,.cluster.local,api.ceil.home.arpa,10.11.0.0/25\"\n"
    );
    with.proxy.as_mut().unwrap().url.push_str("\nK3S_TOKEN=x");
    let pki = ceil_img::flavour::pki::K3sPki::new(&with, &secrets(Flavour::K3s, 1)).unwrap();
    assert!(k3s::agent(&with, &node("two", Role::Agent), &pki.agent()).is_err());
}

#[test]
fn f079_f110_units_are_what_systemd_takes() {
    let targets = std::path::Path::new("/usr/lib/systemd/system");
    if !tools::have(&["systemd-analyze"]) {
        return;
    }
    if !targets.join("multi-user.target").exists() {
        tools::skip("systemd's own units are not installed");
        return;
    }
    let mut checked = 0;
    for role in [Role::FirstServer, Role::Server, Role::Agent] {
        for files in [
            k3s_node(&cluster(K3S, 3), &node("n", role), 1),
            kubeadm_node(&cluster("1.36.4", 3), &node("n", role), &options(), 1),
        ] {
            // A root with stand-ins for the programs, and with systemd's targets.
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path();
            for folder in ["usr/lib/systemd/system", "usr/local/bin", "usr/bin", "usr/sbin"] {
                fs::create_dir_all(root.join(folder)).unwrap();
            }
            for (link, to) in [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib")] {
                std::os::unix::fs::symlink(to, root.join(link)).unwrap();
            }
            for entry in fs::read_dir(targets).unwrap() {
                let path = entry.unwrap().path();
                let ending = path.extension().unwrap_or_default();
                if path.is_file() && (ending == "target" || ending == "slice") {
                    fs::copy(
                        &path,
                        root.join("usr/lib/systemd/system")
                            .join(path.file_name().unwrap()),
                    )
                    .unwrap();
                }
            }
            lay_out(&files, root);
            for program in [
                "usr/local/bin/k3s",
                "usr/local/bin/kubeadm",
                "usr/local/bin/kubelet",
                "usr/local/bin/containerd",
                "usr/sbin/modprobe",
                "usr/bin/rm",
            ] {
                fs::write(root.join(program), "#!/bin/sh\n").unwrap();
                fs::set_permissions(root.join(program), fs::Permissions::from_mode(0o755)).unwrap();
            }
            for unit in &files.units {
                let mut command = tools::command("systemd-analyze");
                command
                    .args(["verify", "--man=no"])
                    .arg(format!("--root={}", root.display()));
                let out = tools::output(command.arg(&unit.name));
                let said = String::from_utf8_lossy(&out.stderr);
                assert!(
                    out.status.success() && said.is_empty(),
                    "{role:?} {}: {said}",
                    unit.name
                );
                let unit = text(&files, &format!("/etc/systemd/system/{}", unit.name));
                if !unit.contains("containerd\n") {
                    assert!(
                        unit.contains("After=network-online.target time-sync.target\n"),
                        "{unit}"
                    );
                }
                checked += 1;
            }
            // The judge sees what is wrong.
            let name = &files.units[0].name;
            let file = root.join("etc/systemd/system").join(name);
            let broken = fs::read_to_string(&file).unwrap().replace("Restart=", "Restrat=");
            fs::write(&file, broken).unwrap();
            let mut command = tools::command("systemd-analyze");
            command
                .args(["verify", "--man=no"])
                .arg(format!("--root={}", root.display()));
            assert!(!tools::output(command.arg(name)).stderr.is_empty());
        }
    }
    assert_eq!(checked, 3 * (1 + 2));
}

#[test]
fn f075_f106_f119_f190_kernel_links_and_places() {
    let files = k3s_node(&cluster(K3S, 1), &node("one", Role::FirstServer), 1);
    for tool in ["kubectl", "crictl", "ctr"] {
        let link = Item::Link {
            path: format!("/usr/local/bin/{tool}"),
            to: "/usr/local/bin/k3s".to_owned(),
        };
        assert!(files.items.contains(&link), "{tool}");
    }
    let paths: Vec<&str> = files.items.iter().map(Item::path).collect();
    for place in [k3s::IMAGES_DIR, k3s::MANIFESTS_DIR] {
        assert!(paths.contains(&place), "{place}");
    }
    assert_eq!(files.modules, ["overlay", "br_netfilter", "vxlan"]);
    assert!(
        files
            .sysctls
            .contains(&("net.bridge.bridge-nf-call-iptables", "1"))
    );
    let mut other = cluster(K3S, 1);
    other.cni = Cni::Other;
    let files = k3s_node(&other, &node("one", Role::FirstServer), 1);
    assert_eq!(files.modules, ["overlay", "br_netfilter"]);
    let config = text(&files, CONFIG);
    assert!(
        config.contains("flannel-backend: none\n") && !config.contains("flannel-iface"),
        "{config}"
    );
}

#[test]
fn texts_cannot_break_out() {
    let hostile = "x\"\n- y: {a: 'b'} #\\ \u{2028}\u{85}\u{0}\u{feff}no: \u{1f980}";
    let mut with = cluster(K3S, 1);
    with.disable = vec![
        hostile.to_owned(),
        "no".to_owned(),
        "1_0".to_owned(),
        "12:30".to_owned(),
    ];
    with.sans = vec![hostile.to_owned()];
    with.name = "ceil".to_owned();
    with.registries.mirror = Some(hostile.to_owned());
    let files = k3s_node(&with, &node("yes", Role::FirstServer), 1);
    let Some(read) = read_back("yaml", text(&files, CONFIG)) else {
        return;
    };
    assert_eq!(read.len(), 1);
    assert_eq!(read[0]["disable"], json!([hostile, "no", "1_0", "12:30"]));
    assert_eq!(read[0]["tls-san"][1], hostile);
    assert_eq!(read[0]["node-name"], "yes");
    let Some(read) = read_back("yaml", text(&files, "/etc/rancher/k3s/registries.yaml")) else {
        return;
    };
    assert_eq!(read[0]["mirrors"]["docker.io"]["endpoint"][0], hostile);
    with.version = "1.36.4".parse().unwrap();
    let files = kubeadm_node(&with, &node("yes", Role::FirstServer), &options(), 1);
    let hosts = text(&files, "/etc/containerd/certs.d/docker.io/hosts.toml");
    if let Some(read) = read_back("toml", hosts) {
        assert_eq!(
            read[0]["host"][hostile]["capabilities"],
            json!(["pull", "resolve"])
        );
    }
    // Labels and amounts go into lists with a syntax of their own, so they are checked instead.
    let pki = ceil_img::flavour::pki::K3sPki::new(&cluster(K3S, 1), &secrets(Flavour::K3s, 1)).unwrap();
    for change in [
        (|n: &mut ceil_img::flavour::Node| drop(n.labels.insert("a".to_owned(), "b,c=d".to_owned())))
            as fn(&mut ceil_img::flavour::Node),
        |n| {
            drop(
                n.kubelet
                    .system_reserved
                    .insert("memory".to_owned(), "1Gi,cpu=1".to_owned()),
            )
        },
        |n| drop(n.kubelet.flags.insert("--x".to_owned(), "y".to_owned())),
    ] {
        let mut bad = node("two", Role::Agent);
        change(&mut bad);
        assert!(k3s::agent(&cluster(K3S, 1), &bad, &pki.agent()).is_err());
    }
}

#[test]
fn the_same_inputs_give_the_same_files_and_edits() {
    for role in [Role::FirstServer, Role::Server, Role::Agent] {
        let k3s = || k3s_node(&cluster(K3S, 3), &node("n", role), 1);
        let kubeadm = || kubeadm_node(&cluster("1.36.4", 3), &node("n", role), &options(), 1);
        assert_eq!(k3s(), k3s());
        assert_eq!(kubeadm(), kubeadm());
        for files in [k3s(), kubeadm()] {
            let origin = Origin {
                file: "<flavour>".to_owned(),
                line: 0,
            };
            let edits = files.edits(&origin).unwrap();
            // One more for the word of the kernel (F025).
            assert_eq!(edits.len(), files.items.len() + 1);
            let mut paths: Vec<&str> = files.items.iter().map(Item::path).collect();
            paths.sort_unstable();
            assert!(paths.windows(2).all(|w| w[0] != w[1]), "no path twice: {paths:?}");
            for edit in &edits {
                if let Op::Put { attributes, .. } | Op::Dir { attributes, .. } = &edit.op {
                    assert!(attributes.mode.is_some() && attributes.owner.is_some());
                }
            }
        }
    }
}

#[test]
fn p64_roles_are_exclusive() {
    let pki = ceil_img::flavour::pki::K3sPki::new(&cluster(K3S, 1), &secrets(Flavour::K3s, 1)).unwrap();
    assert!(k3s::agent(&cluster(K3S, 1), &node("one", Role::FirstServer), &pki.agent()).is_err());
    assert!(k3s::server(&cluster(K3S, 1), &node("two", Role::Agent), &pki.server()).is_err());
}
