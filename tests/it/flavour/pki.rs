//! Authorities, tokens and kubeconfigs.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use ceil_img::flavour::pki::{Holder, K3sPki, KubeadmPki, ServiceAccountKey, admin_group, wanted};
use ceil_img::flavour::{Flavour, FlavourError, Role, k3s, kubeadm as kubeadm_room};
use ceil_img::secrets::KeyPair;

use super::{
    bytes, cluster, k3s_node, kubeadm_node, lay_out, node, options, read_back, secret_texts, secrets, text,
};
use crate::support::tools;

const K3S: &str = "v1.36.4+k3s1";

fn openssl(args: &[&str], dir: &Path) -> String {
    let out = tools::run(tools::command("openssl").args(args).current_dir(dir));
    String::from_utf8(out).unwrap()
}

/// What a pipe of a shell prints, up to the first blank.
fn word(pipe: &str, dir: &Path) -> String {
    let out = tools::run(tools::command("sh").args(["-c", pipe]).current_dir(dir));
    let out = String::from_utf8(out).unwrap();
    out.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn f100_p24_the_authorities_of_k3s_are_what_openssl_takes() {
    if !tools::have(&["openssl", "sh", "sha256sum"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let files = k3s_node(&cluster(K3S, 1), &node("one", Role::FirstServer), 1);
    lay_out(&files, dir.path());
    let tls = dir.path().join("var/lib/rancher/k3s/server/tls");
    for name in [
        "server-ca",
        "client-ca",
        "request-header-ca",
        "etcd/peer-ca",
        "etcd/server-ca",
    ] {
        let (crt, key) = (format!("{name}.crt"), format!("{name}.key"));
        let verify = [
            "verify",
            "-x509_strict",
            "-CAfile",
            "root-ca.crt",
            "-untrusted",
            "intermediate-ca.crt",
            &crt,
        ];
        assert_eq!(openssl(&verify, &tls), format!("{crt}: OK\n"));
        assert_eq!(
            openssl(&["x509", "-in", &crt, "-noout", "-pubkey"], &tls),
            openssl(&["pkey", "-in", &key, "-pubout"], &tls),
            "{name}"
        );
        let bundle = fs::read_to_string(tls.join(&crt)).unwrap();
        assert_eq!(
            bundle.matches("BEGIN CERTIFICATE").count(),
            3,
            "{name}: itself, intermediate, root"
        );
        assert!(
            fs::read_to_string(tls.join(&key))
                .unwrap()
                .starts_with("-----BEGIN EC PRIVATE KEY-----\n")
        );
    }
    let service = fs::read_to_string(tls.join("service.key")).unwrap();
    assert!(
        service.starts_with("-----BEGIN EC PRIVATE KEY-----\n"),
        "the API server reads no PKCS #8 here"
    );
    openssl(&["ec", "-in", "service.key", "-check", "-noout"], &tls);
    for name in ["root-ca.key", "intermediate-ca.key"] {
        assert!(!tls.join(name).exists(), "{name} stays on the workstation");
    }

    // The hash in the tokens is that of the root's DER, as k3s takes it of a chain.
    let hash = word("openssl x509 -in root-ca.crt -outform der | sha256sum", &tls);
    let config = text(&files, "/etc/rancher/k3s/config.yaml");
    assert!(
        config.contains(&format!("token: \"K10{hash}::server:")),
        "{config}"
    );
    let agent = k3s_node(&cluster(K3S, 1), &node("two", Role::Agent), 1);
    let config = text(&agent, "/etc/rancher/k3s/config.yaml");
    assert!(config.contains(&format!("token: \"K10{hash}::node:")), "{config}");
}

#[test]
fn p24_k3s_before_chains_gets_authorities_that_stand_alone() {
    if !tools::have(&["openssl", "sh", "sha256sum"]) {
        return;
    }
    let old = cluster("v1.22.3+k3s1", 1);
    let dir = tempfile::tempdir().unwrap();
    let files = k3s_node(&old, &node("one", Role::FirstServer), 1);
    lay_out(&files, dir.path());
    let tls = dir.path().join("var/lib/rancher/k3s/server/tls");
    assert!(!tls.join("root-ca.crt").exists());
    for name in [
        "server-ca.crt",
        "client-ca.crt",
        "request-header-ca.crt",
        "etcd/peer-ca.crt",
        "etcd/server-ca.crt",
    ] {
        assert_eq!(
            openssl(&["verify", "-CAfile", name, name], &tls),
            format!("{name}: OK\n")
        );
    }
    let hash = word("sha256sum server-ca.crt", &tls);
    let agent = k3s_node(&old, &node("two", Role::Agent), 1);
    assert!(text(&agent, "/etc/rancher/k3s/config.yaml").contains(&format!("token: \"K10{hash}::node:")));
    // The edge.
    let certificates = |version: &str| {
        let files = k3s_node(&cluster(version, 1), &node("one", Role::FirstServer), 1);
        text(&files, "/var/lib/rancher/k3s/server/tls/server-ca.crt")
            .matches("BEGIN CERTIFICATE")
            .count()
    };
    assert_eq!(certificates("v1.26.15+k3s1"), 1);
    assert_eq!(certificates("v1.27.0+k3s1"), 3);
}

#[test]
fn f103_f108_the_authorities_of_kubeadm_are_what_openssl_takes() {
    if !tools::have(&["openssl", "sh", "sha256sum"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let files = kubeadm_node(
        &cluster("1.36.4", 1),
        &node("one", Role::FirstServer),
        &options(),
        1,
    );
    lay_out(&files, dir.path());
    let pki = dir.path().join("etc/kubernetes/pki");
    for (name, subject) in [
        ("ca", "kubernetes"),
        ("front-proxy-ca", "front-proxy-ca"),
        ("etcd/ca", "etcd-ca"),
    ] {
        let (crt, key) = (format!("{name}.crt"), format!("{name}.key"));
        assert_eq!(
            openssl(&["verify", "-x509_strict", "-CAfile", &crt, &crt], &pki),
            format!("{crt}: OK\n")
        );
        assert_eq!(
            openssl(&["x509", "-in", &crt, "-noout", "-pubkey"], &pki),
            openssl(&["pkey", "-in", &key, "-pubout"], &pki)
        );
        let said = openssl(&["x509", "-in", &crt, "-noout", "-subject"], &pki);
        assert_eq!(said.replace(' ', ""), format!("subject=CN={subject}\n"));
    }
    assert_eq!(
        openssl(&["pkey", "-in", "sa.key", "-pubout"], &pki),
        fs::read_to_string(pki.join("sa.pub")).unwrap()
    );
    let hash = word(
        "openssl x509 -pubkey -noout -in ca.crt | openssl pkey -pubin -outform der | sha256sum",
        &pki,
    );
    let worker = kubeadm_node(&cluster("1.36.4", 1), &node("two", Role::Agent), &options(), 1);
    assert!(text(&worker, kubeadm_room::CONFIG).contains(&format!("sha256:{hash}")));
}

#[test]
fn f103_old_kubeadm_and_elliptic_curves() {
    let of = |version: &str, servers| ServiceAccountKey::of(&version.parse().unwrap(), servers);
    let on_card = |version: &str| matches!(of(version, 3), Ok(ServiceAccountKey::OnTheCard));
    for (old, new) in [
        ("1.22.14", "1.22.15"),
        ("1.23.11", "1.23.12"),
        ("1.24.5", "1.24.6"),
        ("1.25.1", "1.25.2"),
    ] {
        assert!(on_card(new), "{new}");
        assert!(matches!(of(old, 3), Err(FlavourError::Version { .. })), "{old}");
        assert!(
            matches!(of(old, 1), Ok(ServiceAccountKey::MadeByKubeadm)),
            "{old}"
        );
    }
    assert!(on_card("1.26.0"));
    assert!(of("1.15.0", 1).is_ok());
    assert!(of("1.14.10", 1).is_err());
    let pki = KubeadmPki::new(&cluster("1.21.14", 1), &secrets(Flavour::Kubeadm, 1)).unwrap();
    let files = pki.control_plane().files;
    assert!(files.iter().any(|i| i.path().ends_with("/ca.key")));
    assert!(!files.iter().any(|i| i.path().contains("/sa.")));
}

#[test]
fn f118_the_kubeconfig_of_the_administrator() {
    if !tools::have(&["openssl"]) {
        return;
    }
    let url = "https://10.11.0.101:6443";
    for (version, flavour, group) in [
        (K3S, Flavour::K3s, "system:masters"),
        ("1.36.4", Flavour::Kubeadm, "kubeadm:cluster-admins"),
        ("1.29.0", Flavour::Kubeadm, "kubeadm:cluster-admins"),
        ("1.28.15", Flavour::Kubeadm, "system:masters"),
    ] {
        let cluster = cluster(version, 1);
        assert_eq!(admin_group(flavour, &cluster.version), group);
        let secrets = secrets(flavour, 1);
        let config = match flavour {
            Flavour::K3s => K3sPki::new(&cluster, &secrets).unwrap().kubeconfig(&cluster, url),
            Flavour::Kubeadm => KubeadmPki::new(&cluster, &secrets)
                .unwrap()
                .kubeconfig(&cluster, url),
        };
        let Some(read) = read_back("yaml", config.unwrap().reveal()) else {
            return;
        };
        let config = &read[0];
        assert_eq!(config["clusters"][0]["cluster"]["server"], url);
        assert_eq!(config["current-context"], config["contexts"][0]["name"]);
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, value: &serde_json::Value| {
            let data = base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap());
            fs::write(dir.path().join(name), data.unwrap()).unwrap();
        };
        put(
            "client.crt",
            &config["users"][0]["user"]["client-certificate-data"],
        );
        put("client.key", &config["users"][0]["user"]["client-key-data"]);
        put(
            "bundle.crt",
            &config["clusters"][0]["cluster"]["certificate-authority-data"],
        );
        // The server checks clients against the authority of clients, which is not the one that clients check.
        let (files, authority) = match flavour {
            Flavour::K3s => (
                k3s_node(&cluster, &node("one", Role::FirstServer), 1),
                "/var/lib/rancher/k3s/server/tls/client-ca.crt",
            ),
            Flavour::Kubeadm => (
                kubeadm_node(&cluster, &node("one", Role::FirstServer), &options(), 1),
                "/etc/kubernetes/pki/ca.crt",
            ),
        };
        fs::write(
            dir.path().join("client-ca.crt"),
            bytes(files.file(authority).unwrap()),
        )
        .unwrap();
        // Boards come up at any time.
        for time in ["1300000000", "4300000000"] {
            let verify = [
                "verify",
                "-x509_strict",
                "-attime",
                time,
                "-purpose",
                "sslclient",
                "-CAfile",
                "client-ca.crt",
                "client.crt",
            ];
            assert_eq!(openssl(&verify, dir.path()), "client.crt: OK\n");
        }
        let subject = openssl(&["x509", "-in", "client.crt", "-noout", "-subject"], dir.path());
        assert_eq!(
            subject.replace(' ', ""),
            format!("subject=O={group},CN=ceil-admin\n")
        );
        assert_eq!(
            openssl(&["pkey", "-in", "client.key", "-pubout"], dir.path()),
            openssl(&["x509", "-in", "client.crt", "-noout", "-pubkey"], dir.path())
        );
    }
}

#[test]
fn p25_f107_agents_hold_no_key_and_no_server_token() {
    for flavour in [Flavour::K3s, Flavour::Kubeadm] {
        let all = secrets(flavour, 1);
        let files = |role| match flavour {
            Flavour::K3s => k3s_node(&cluster(K3S, 3), &node("n", role), 1),
            Flavour::Kubeadm => kubeadm_node(&cluster("1.36.4", 3), &node("n", role), &options(), 1),
        };
        let dump = |role| -> String {
            let files = files(role);
            let parts = files.items.iter().filter_map(|i| files.file(i.path()));
            parts
                .map(|c| String::from_utf8_lossy(bytes(c)).into_owned())
                .collect()
        };
        let agent = dump(Role::Agent);
        let server = dump(Role::Server);
        assert!(!agent.contains("PRIVATE KEY"));
        for wanted in wanted(flavour) {
            let value = &secret_texts(&all, |name| name == wanted.name)[0].1;
            let is_key = value.reveal().contains("PRIVATE KEY");
            // A key may stand in either of its two forms.
            let forms = if is_key {
                let key = KeyPair::from_pem(wanted.name, value).unwrap();
                vec![key.to_pem(), key.to_sec1_pem()]
            } else {
                vec![value.clone()]
            };
            let holds = |text: &str| {
                forms.iter().any(|form| {
                    // The middle of a key tells it apart, whatever stands around it.
                    let line = form.reveal().lines().nth(1).unwrap_or(form.reveal());
                    text.contains(line)
                })
            };
            let name = wanted.name;
            match wanted.holder {
                Holder::Workstation => assert!(!holds(&agent) && !holds(&server), "{name}"),
                Holder::Servers => {
                    assert!(!holds(&agent), "{name} is on an agent");
                    // The administrator's key is in the kubeconfig alone, which is asked for apart.
                    assert_eq!(holds(&server), name != "admin-key", "{name}");
                }
                Holder::Nodes => assert!(holds(&agent) && holds(&server), "{name}"),
            }
        }
    }
}

#[test]
fn missing_and_malformed_secrets_are_named_and_not_told() {
    let mut all = secrets(Flavour::K3s, 1);
    let token = all.remove("k3s-agent-token").unwrap();
    let error = K3sPki::new(&cluster(K3S, 1), &all).unwrap_err().to_string();
    assert!(error.contains("k3s-agent-token"), "{error}");
    all.insert("k3s-agent-token".to_owned(), token);
    all.insert(
        "k3s-service-key".to_owned(),
        ceil_img::secrets::Secret::new("hunter2hunter2"),
    );
    let error = K3sPki::new(&cluster(K3S, 1), &all).unwrap_err();
    assert!(error.to_string().contains("k3s-service-key"), "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    // Debug texts of what holds secrets say nothing either.
    let all = secrets(Flavour::K3s, 1);
    let pki = K3sPki::new(&cluster(K3S, 1), &all).unwrap();
    let said = format!("{pki:?} {:?} {:?}", pki.server(), pki.agent());
    let files = k3s::server(&cluster(K3S, 1), &node("one", Role::FirstServer), &pki.server()).unwrap();
    let said = format!("{said} {files:?}");
    for name in ["k3s-token", "k3s-agent-token"] {
        assert!(!said.contains(all[name].reveal()), "{name}");
    }
    assert!(!said.contains("PRIVATE KEY"));
}

#[test]
fn f107_two_builds_with_other_secrets_share_none() {
    let config = |seed| {
        let files = k3s_node(&cluster(K3S, 1), &node("two", Role::Agent), seed);
        text(&files, "/etc/rancher/k3s/config.yaml").to_owned()
    };
    assert_eq!(config(1), config(1));
    assert_ne!(config(1), config(2));
}
