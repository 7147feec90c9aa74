//! The three forms of kubeadm's configuration, and containerd.

use ceil_img::flavour::kubeadm::{ApiVersion, CONFIG, worker};
use ceil_img::flavour::pki::KubeadmPki;
use ceil_img::flavour::{Flavour, Role, SwapUse};
use serde_json::{Value, json};

use super::{cluster, kubeadm_node, node, options, read_back, secrets, text};

fn documents(version: &str, servers: usize, role: Role) -> Option<Vec<Value>> {
    let files = kubeadm_node(&cluster(version, servers), &node("one", role), &options(), 1);
    read_back("yaml", text(&files, CONFIG))
}

#[test]
fn f103_the_form_follows_the_version() {
    let of = |version: &str| ApiVersion::of(&version.parse().unwrap());
    for (version, form) in [
        ("1.15.0", ApiVersion::V1Beta2),
        ("1.21.14", ApiVersion::V1Beta2),
        ("1.22.0", ApiVersion::V1Beta3),
        ("1.30.14", ApiVersion::V1Beta3),
        ("1.31.0", ApiVersion::V1Beta4),
        ("1.36.4", ApiVersion::V1Beta4),
    ] {
        assert_eq!(of(version).unwrap(), form, "{version}");
    }
    let error = of("1.14.10").unwrap_err().to_string();
    assert!(error.contains("1.14.10") && error.contains("1.15"), "{error}");
}

#[test]
fn f103_f109_f112_the_first_server_in_v1beta4() {
    let Some(read) = documents("1.36.4", 1, Role::FirstServer) else {
        return;
    };
    assert_eq!(
        read[0],
        json!({
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "InitConfiguration",
            "bootstrapTokens": [{
                "token": secrets(Flavour::Kubeadm, 1)["bootstrap-token"].reveal(),
                "description": "nodes of this cluster's cards",
                "ttl": "48h0m0s",
                "usages": ["signing", "authentication"],
                "groups": ["system:bootstrappers:kubeadm:default-node-token"],
            }],
            "localAPIEndpoint": {"advertiseAddress": "10.11.0.101", "bindPort": 6443},
            "nodeRegistration": {
                "name": "one",
                "criSocket": "unix:///run/containerd/containerd.sock",
                "taints": [{"key": "dedicated", "value": "db", "effect": "NoSchedule"}],
                "kubeletExtraArgs": [
                    {"name": "node-ip", "value": "10.11.0.101"},
                    {"name": "node-labels", "value": "disk=ssd,on=yes"},
                ],
                "ignorePreflightErrors": ["Mem"],
            },
            "patches": {"directory": "/etc/kubernetes/patches"},
            "timeouts": {
                "controlPlaneComponentHealthCheck": "0h20m0s",
                "kubeletHealthCheck": "0h20m0s",
                "tlsBootstrap": "0h20m0s",
                "discovery": "0h2m0s",
            },
        })
    );
    assert_eq!(
        read[1],
        json!({
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "ClusterConfiguration",
            "clusterName": "ceil",
            "kubernetesVersion": "v1.36.4",
            "controlPlaneEndpoint": "api.ceil.home.arpa:6443",
            "certificatesDir": "/etc/kubernetes/pki",
            "networking": {
                "podSubnet": "10.244.0.0/16",
                "serviceSubnet": "10.96.0.0/16",
                "dnsDomain": "cluster.local",
            },
            "encryptionAlgorithm": "ECDSA-P256",
            "apiServer": {"certSANs": ["10.11.0.101", "one"]},
            "scheduler": {"extraArgs": [{"name": "leader-elect", "value": "false"}]},
            "controllerManager": {"extraArgs": [{"name": "leader-elect", "value": "false"}]},
        })
    );
    assert_eq!(
        read[2],
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "cgroupDriver": "systemd",
        })
    );
    assert_eq!(read.len(), 3);
}

#[test]
fn f103_older_forms_have_maps_and_other_timeouts() {
    for (version, form) in [("1.30.14", "v1beta3"), ("1.21.14", "v1beta2")] {
        let Some(read) = documents(version, 1, Role::FirstServer) else {
            return;
        };
        assert_eq!(read[0]["apiVersion"], format!("kubeadm.k8s.io/{form}"));
        let flags = &read[0]["nodeRegistration"]["kubeletExtraArgs"];
        assert_eq!(flags["node-labels"], "disk=ssd,on=yes", "a map in {form}");
        assert!(read[0].get("timeouts").is_none());
        assert_eq!(read[1]["apiServer"]["timeoutForControlPlane"], "0h20m0s");
        assert!(read[1].get("encryptionAlgorithm").is_none());
        let Some(read) = documents(version, 1, Role::Agent) else {
            return;
        };
        assert_eq!(read[0]["discovery"]["timeout"], "0h2m0s");
        // Patches of the kubelet's configuration exist since 1.25; before, the same goes into flags.
        let patched = version == "1.30.14";
        let registration = &read[0]["nodeRegistration"];
        assert_eq!(read[0].get("patches").is_some(), patched);
        assert_eq!(
            registration["kubeletExtraArgs"].get("eviction-hard").is_some(),
            !patched
        );
        let socket = if patched {
            "unix:///run/containerd/containerd.sock"
        } else {
            "/run/containerd/containerd.sock"
        };
        assert_eq!(registration["criSocket"], socket);
    }
}

#[test]
fn f104_f108_joining() {
    let Some(read) = documents("1.36.4", 3, Role::Agent) else {
        return;
    };
    assert_eq!(read.len(), 1);
    let join = &read[0];
    assert_eq!(join["kind"], "JoinConfiguration");
    let token = &join["discovery"]["bootstrapToken"];
    assert_eq!(token["apiServerEndpoint"], "api.ceil.home.arpa:6443");
    assert_eq!(token["caCertHashes"].as_array().unwrap().len(), 1);
    assert!(token.get("unsafeSkipCAVerification").is_none());
    assert!(join.get("controlPlane").is_none() && join["discovery"].get("timeout").is_none());
    // Another server has the authorities on its card, and so needs no certificate key.
    let Some(read) = documents("1.36.4", 3, Role::Server) else {
        return;
    };
    assert_eq!(
        read[0]["controlPlane"],
        json!({"localAPIEndpoint": {"advertiseAddress": "10.11.0.101", "bindPort": 6443}})
    );
    // Taints that were not said are left to kubeadm; none at all is an empty list.
    for (taints, registered) in [(None, Value::Null), (Some(Vec::new()), json!([]))] {
        let mut one = node("one", Role::Server);
        one.taints = taints;
        let files = kubeadm_node(&cluster("1.36.4", 3), &one, &options(), 1);
        let Some(read) = read_back("yaml", text(&files, CONFIG)) else {
            return;
        };
        assert_eq!(read[0]["nodeRegistration"]["taints"], registered);
    }
}

#[test]
fn f127_f071_what_differs_between_kubelets_is_a_patch() {
    let mut two = node("two", Role::Agent);
    two.kubelet.swap = SwapUse::Limited;
    let files = kubeadm_node(&cluster("1.36.4", 1), &two, &options(), 1);
    let patch = text(&files, "/etc/kubernetes/patches/kubeletconfiguration0+merge.yaml");
    let Some(read) = read_back("yaml", patch) else {
        return;
    };
    assert_eq!(
        read[0],
        json!({
            "systemReserved": {"memory": "128Mi"},
            "evictionHard": {"memory.available": "64Mi", "nodefs.available": "5%"},
            "failSwapOn": false,
            "memorySwap": {"swapBehavior": "LimitedSwap"},
        })
    );
    two.kubelet = Default::default();
    let files = kubeadm_node(&cluster("1.36.4", 1), &two, &options(), 1);
    assert!(!files.items.iter().any(|i| i.path().contains("patches")));
    assert!(!text(&files, CONFIG).contains("patches"));
}

// rows: F104
#[test]
fn p26_preflight_checks_are_named() {
    let mut cluster = cluster("1.36.4", 1);
    cluster.disable = vec!["kube-proxy".to_owned()];
    let pki = KubeadmPki::new(&cluster, &secrets(Flavour::Kubeadm, 1)).unwrap();
    let with = |name: &str| {
        let mut options = options();
        options.ignore_preflight = vec![name.to_owned()];
        worker(&cluster, &node("two", Role::Agent), &options, &pki.worker())
    };
    assert!(with("Mem").is_ok());
    for name in ["all", "All", "", "Mem,Swap", "Mem all"] {
        assert!(with(name).is_err(), "{name}");
    }
}

#[test]
fn f081_the_cgroup_driver_of_containerd_is_the_kubelets() {
    let read = |major, pause: Option<&str>| {
        let mut options = options();
        options.containerd = major;
        options.pause_image = pause.map(str::to_owned);
        let files = kubeadm_node(
            &cluster("1.36.4", 1),
            &node("one", Role::FirstServer),
            &options,
            1,
        );
        let toml = read_back("toml", text(&files, "/etc/containerd/config.toml"))?;
        let yaml = read_back("yaml", text(&files, CONFIG))?;
        assert_eq!(yaml[2]["cgroupDriver"], "systemd");
        Some(toml[0].clone())
    };
    let (Some(one), Some(two)) = (
        read(1, Some("registry.k8s.io/pause:3.9")),
        read(2, Some("registry.k8s.io/pause:3.10.1")),
    ) else {
        return;
    };
    let runc = json!({"runtime_type": "io.containerd.runc.v2", "options": {"SystemdCgroup": true}});
    let cni = json!({"bin_dir": "/opt/cni/bin", "conf_dir": "/etc/cni/net.d"});
    assert_eq!(
        one,
        json!({"version": 2, "plugins": {"io.containerd.grpc.v1.cri": {
            "sandbox_image": "registry.k8s.io/pause:3.9",
            "containerd": {"runtimes": {"runc": runc}},
            "cni": cni,
            "registry": {"config_path": "/etc/containerd/certs.d"},
        }}})
    );
    assert_eq!(
        two,
        json!({"version": 3, "plugins": {
            "io.containerd.cri.v1.runtime": {"containerd": {"runtimes": {"runc": runc}}, "cni": cni},
            "io.containerd.cri.v1.images": {
                "pinned_images": {"sandbox": "registry.k8s.io/pause:3.10.1"},
                "registry": {"config_path": "/etc/containerd/certs.d"},
            },
        }})
    );
    let mut wrong = options();
    wrong.containerd = 3;
    let cluster = cluster("1.36.4", 1);
    let pki = KubeadmPki::new(&cluster, &secrets(Flavour::Kubeadm, 1)).unwrap();
    assert!(worker(&cluster, &node("two", Role::Agent), &wrong, &pki.worker()).is_err());
}

#[test]
fn f084_f085_registries_of_containerd() {
    let files = kubeadm_node(&cluster("1.36.4", 1), &node("two", Role::Agent), &options(), 1);
    let hosts = |name: &str| {
        let text = text(&files, &format!("/etc/containerd/certs.d/{name}/hosts.toml"));
        read_back("toml", text).map(|mut read| read.remove(0))
    };
    let (Some(hub), Some(private)) = (hosts("docker.io"), hosts("10.11.0.1:5001")) else {
        return;
    };
    assert_eq!(
        hub,
        json!({
            "server": "https://registry-1.docker.io",
            "host": {"http://10.11.0.1:5000": {"capabilities": ["pull", "resolve"]}},
        })
    );
    assert_eq!(private["server"], "http://10.11.0.1:5001");
    let mut bad = cluster("1.36.4", 1);
    bad.registries.private = Some("../../etc".to_owned());
    let pki = KubeadmPki::new(&bad, &secrets(Flavour::Kubeadm, 1)).unwrap();
    assert!(worker(&bad, &node("two", Role::Agent), &options(), &pki.worker()).is_err());
    assert!(files.items.iter().all(|i| !i.path().starts_with("/etc/cni")));
}
