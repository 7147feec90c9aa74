//! Keys, certificates, hashes and tokens, judged by OpenSSL, OpenSSH and the C library.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use ceil_img::secrets::{
    Authority, BootstrapToken, CertificateRequest, HostKey, KeyPair, Kind, Outside, Scheme, Secret,
    SecretStore, Source, Usage, WireGuardKey, hash_password, k3s_token, spki_hash,
};

use ceil_img::inputs::{Resolver, SecretFile};

use crate::support::noise::noise;
use crate::support::tools;

fn key(seed: u64) -> KeyPair {
    KeyPair::make(&mut noise(seed)).unwrap()
}

fn root() -> Authority {
    Authority::root(key(1), &CertificateRequest::authority("ceil-root")).unwrap()
}

fn said(command: &mut Command) -> String {
    String::from_utf8(tools::run(command)).unwrap()
}

fn openssl(args: &[&str], dir: &Path) -> String {
    said(tools::command("openssl").args(args).current_dir(dir))
}

#[test]
fn certificates_are_what_openssl_takes() {
    if !tools::have(&["openssl"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    let root = root();
    let server_ca = root
        .intermediate(key(2), &CertificateRequest::authority("ceil-server-ca"))
        .unwrap();
    let request = CertificateRequest {
        usage: Usage::Server,
        names: vec!["one.ceil.internal".to_owned(), "kubernetes".to_owned()],
        addresses: vec!["10.11.0.101".parse().unwrap(), "fd00::1".parse().unwrap()],
        ..CertificateRequest::authority("kube-apiserver")
    };
    put("root.pem", root.pem());
    put("ca.pem", server_ca.pem());
    put("server.pem", &server_ca.issue(&key(3), &request).unwrap());
    put("server.key", key(3).to_pem().reveal());
    let admin = CertificateRequest::client("kubernetes-admin", &["system:masters", "second"]);
    put("admin.pem", &server_ca.issue(&key(4), &admin).unwrap());

    // Boards come up at any time: long ago, and long after.
    for time in ["1300000000", "4300000000"] {
        for (purpose, file) in [("sslserver", "server.pem"), ("sslclient", "admin.pem")] {
            let args = ["verify", "-x509_strict", "-attime", time, "-purpose", purpose];
            let more = ["-CAfile", "root.pem", "-untrusted", "ca.pem", file];
            let text = openssl(&[&args[..], &more].concat(), dir.path());
            assert_eq!(text, format!("{file}: OK\n"));
        }
    }
    let wrong = [
        "verify",
        "-purpose",
        "sslclient",
        "-CAfile",
        "root.pem",
        "-untrusted",
        "ca.pem",
        "server.pem",
    ];
    let out = tools::output(tools::command("openssl").args(wrong).current_dir(dir.path()));
    assert!(!out.status.success(), "a server's certificate is no client's");

    let text = openssl(&["x509", "-in", "server.pem", "-noout", "-text"], dir.path());
    for part in [
        "DNS:one.ceil.internal, DNS:kubernetes, IP Address:10.11.0.101, IP Address:FD00:0:0:0:0:0:0:1",
        "CA:FALSE",
        "ASN1 OID: prime256v1",
        "Issuer: CN = ceil-server-ca",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let text = openssl(&["x509", "-in", "admin.pem", "-noout", "-subject"], dir.path());
    assert_eq!(
        text,
        "subject=O = system:masters, O = second, CN = kubernetes-admin\n"
    );

    // The key belongs to the certificate.
    let of_key = openssl(&["pkey", "-in", "server.key", "-pubout"], dir.path());
    assert_eq!(
        of_key,
        openssl(&["x509", "-in", "server.pem", "-noout", "-pubkey"], dir.path())
    );
    assert_eq!(of_key, key(3).public_pem());

    // The pin of kubeadm, as its documentation tells to take it.
    let pipe = "openssl x509 -pubkey -noout -in root.pem | openssl pkey -pubin -outform der | sha256sum";
    let sum = said(tools::command("sh").args(["-c", pipe]).current_dir(dir.path()));
    assert_eq!(
        spki_hash(&root),
        format!("sha256:{}", sum.split(' ').next().unwrap())
    );

    // The token of k3s: of one certificate the bytes of the file, of a chain the root's DER.
    let token = Secret::new("0123456789abcdef");
    let sum = said(
        tools::command("sha256sum")
            .arg("root.pem")
            .current_dir(dir.path()),
    );
    let single = k3s_token(root.pem(), &root, "server", &token);
    let hash = sum.split(' ').next().unwrap();
    assert_eq!(single.reveal(), format!("K10{hash}::server:0123456789abcdef"));
    let pipe = "openssl x509 -in root.pem -outform der | sha256sum";
    let sum = said(tools::command("sh").args(["-c", pipe]).current_dir(dir.path()));
    let bundle = [server_ca.pem(), root.pem()].concat();
    let chained = k3s_token(&bundle, &root, "node", &token);
    let hash = sum.split(' ').next().unwrap();
    assert_eq!(chained.reveal(), format!("K10{hash}::node:0123456789abcdef"));
}

#[test]
fn the_same_keys_give_the_same_certificates() {
    assert_eq!(root().pem(), root().pem());
    let other = Authority::root(key(1), &CertificateRequest::authority("other")).unwrap();
    assert_ne!(root().pem(), other.pem());
    let long = "x".repeat(65);
    for name in ["", "a,b", "a\nb", " a", &long] {
        let error = Authority::root(key(1), &CertificateRequest::authority(name)).unwrap_err();
        assert!(error.to_string().contains("1 to 64"), "{error}");
    }
}

#[test]
fn host_keys_are_what_openssh_takes() {
    if !tools::have(&["ssh-keygen"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let key = HostKey::make(&mut noise(5)).unwrap();
    let path = dir.path().join("ssh_host_ed25519_key");
    fs::write(&path, key.to_openssh().reveal()).unwrap();
    tools::run(Command::new("chmod").arg("600").arg(&path));
    let public = said(tools::command("ssh-keygen").arg("-y").arg("-f").arg(&path));
    assert_eq!(public.trim(), key.public("").trim());
    let names = ["one".to_owned(), "10.11.0.101".to_owned()];
    let hosts = dir.path().join("known_hosts");
    fs::write(&hosts, key.known_hosts(&names) + "\n").unwrap();
    let found = said(
        tools::command("ssh-keygen")
            .args(["-F", "10.11.0.101", "-f"])
            .arg(&hosts),
    );
    assert!(found.contains("ssh-ed25519 AAAA"), "{found}");

    let theirs = dir.path().join("theirs");
    let args = ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"];
    tools::run(tools::command("ssh-keygen").args(args).arg(&theirs));
    let text = Secret::new(fs::read_to_string(&theirs).unwrap());
    let read = HostKey::from_openssh("x", &text).unwrap();
    let public = fs::read_to_string(dir.path().join("theirs.pub")).unwrap();
    assert_eq!(read.public("").trim(), public.trim());
}

#[test]
fn password_hashes_are_what_the_c_library_takes() {
    let password = Secret::new("correct horse");
    for (scheme, prefix) in [(Scheme::Sha512Crypt, "$6$"), (Scheme::Yescrypt, "$y$")] {
        let hash = hash_password("ceil/admin", &password, scheme).unwrap();
        assert!(hash.starts_with(prefix), "{hash}");
        assert_eq!(hash, hash_password("ceil/admin", &password, scheme).unwrap());
        assert_ne!(hash, hash_password("ceil/other", &password, scheme).unwrap());
        if !tools::have(&["perl"]) {
            continue;
        }
        // Perl's crypt is the C library's.
        let script = "print crypt($ARGV[0], $ARGV[1])";
        let theirs = said(tools::command("perl").args(["-e", script, "correct horse", &hash]));
        assert_eq!(theirs, hash);
    }
}

#[test]
fn wireguard_keys_are_what_openssl_takes() {
    if !tools::have(&["openssl"]) {
        return;
    }
    let key = WireGuardKey::make(&mut noise(6)).unwrap();
    let text = key.to_base64();
    assert_eq!(
        WireGuardKey::from_base64("x", &text).unwrap().public(),
        key.public()
    );
    // The head of a PKCS #8 key of X25519 (RFC 8410), then the 32 bytes.
    let script = "(printf '0.\\002\\001\\0000\\005\\006\\003+en\\004\"\\004 '; printf %s \"$1\" | base64 -d) \
                  | openssl pkey -inform DER -pubout -outform DER | tail -c 32 | base64";
    let public = said(tools::command("sh").args(["-c", script, "sh", text.reveal()]));
    assert_eq!(public.trim(), key.public());
}

/// Counts what is asked of the outside.
struct Counted<'a, R> {
    asked: &'a Cell<u32>,
    random: R,
}

impl<R: FnMut(&mut [u8]) -> std::io::Result<()>> Outside for Counted<'_, R> {
    fn resolve(&mut self, name: &str, source: &Source) -> Result<Secret, String> {
        self.asked.set(self.asked.get() + 1);
        match source {
            Source::Environment(_) => Ok(Secret::new(format!("value-of-{name}-0123456789"))),
            other => Err(format!("{other} gives nothing")),
        }
    }

    fn fill(&mut self, buf: &mut [u8]) -> std::io::Result<()> {
        (self.random)(buf)
    }
}

#[test]
fn a_store_makes_what_is_missing_once() {
    let asked = Cell::new(0);
    let mut outside = Counted {
        asked: &asked,
        random: noise(7),
    };
    let sources = BTreeMap::from([
        ("wifi".to_owned(), Source::Environment("HOME_WIFI".to_owned())),
        (
            "vault".to_owned(),
            Source::Command(vec!["pass".to_owned(), "show".to_owned()]),
        ),
        ("bad".to_owned(), Source::Value(Secret::new("no token"))),
    ]);
    let mut store = SecretStore::new("secrets.yaml", sources);
    let kinds = [
        Kind::Key,
        Kind::Token,
        Kind::BootstrapToken,
        Kind::SshHostKey,
        Kind::WireGuard,
        Kind::Password,
    ];
    for kind in kinds {
        let name = format!("{kind:?}");
        let first = store.get(&name, kind, &mut outside).unwrap();
        assert_eq!(first, store.get(&name, kind, &mut outside).unwrap());
        store.rotate(&name, kind, &mut noise(99)).unwrap();
        assert_ne!(first, store.get(&name, kind, &mut outside).unwrap());
        // Nothing of it in what can be printed.
        let shown = format!("{first:?} {store:?}");
        assert!(!shown.contains(first.reveal()), "{shown}");
    }
    assert_eq!(store.made().len(), kinds.len());
    assert_eq!(asked.get(), 0);

    for _ in 0..2 {
        let value = store.get("wifi", Kind::Given, &mut outside).unwrap();
        assert_eq!(value.reveal(), "value-of-wifi-0123456789");
    }
    assert_eq!(asked.get(), 1, "a source is asked once");
    for (name, kind, word) in [
        ("vault", Kind::Given, "the command `pass` gives nothing"),
        ("unknown", Kind::Given, "give it in secrets.yaml"),
        ("bad", Kind::BootstrapToken, "six and sixteen"),
        ("bad", Kind::Key, "PRIVATE KEY"),
    ] {
        let error = store.get(name, kind, &mut outside).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
        assert!(!error.contains("no token"), "{error}");
    }
    let error = store.rotate("wifi", Kind::Given, &mut noise(1)).unwrap_err();
    assert!(error.to_string().contains("change it there"), "{error}");

    let token = store
        .get("BootstrapToken", Kind::BootstrapToken, &mut outside)
        .unwrap();
    let parts = BootstrapToken::parse("t", &token).unwrap();
    assert_eq!(format!("{}.{}", parts.id, parts.secret.reveal()), token.reveal());
}

/// A resolver over a fixed environment.
fn file_of(path: &Path) -> SecretFile {
    SecretFile::open(path).unwrap()
}

fn resolve<T>(seed: u64, work: impl FnOnce(&mut Resolver<'_>) -> T) -> T {
    let mut random = noise(seed);
    work(&mut Resolver {
        variable: &|name| (name == "HOME_WIFI").then(|| "from the environment".to_owned()),
        fill: &mut random,
    })
}

#[test]
fn the_file_of_secrets_is_private_stable_and_ignored() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secrets.yaml");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let kinds = [
        ("ca", Kind::Key),
        ("token", Kind::Token),
        ("one-ssh", Kind::SshHostKey),
        ("pw", Kind::Password),
    ];
    let all = |file: &mut SecretFile, seed| {
        resolve(seed, |outside| {
            kinds.map(|(name, kind)| file.store.get(name, kind, outside).unwrap())
        })
    };
    let mut file = file_of(&path);
    let first = all(&mut file, 1);
    assert!(!path.exists(), "nothing is written before it is asked for");
    file.save().unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(
        fs::read_to_string(dir.path().join(".gitignore")).unwrap(),
        "/secrets.yaml\n"
    );

    // Another run, with other random numbers, finds the same.
    let text = fs::read_to_string(&path).unwrap();
    let mut file = file_of(&path);
    assert_eq!(all(&mut file, 2), first);
    file.save().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), text);

    // Comments and what comes from elsewhere stay; a rotated secret is replaced in its place.
    let more = format!(
        "{text}# mine\nwifi: {{env: HOME_WIFI}}\nfile: {{file: psk}}\ntool: {{command: [printf, \"a\\nb\\n\"]}}\n"
    );
    fs::write(&path, more).unwrap();
    fs::write(dir.path().join("psk"), "from a file\r\n").unwrap();
    let mut file = file_of(&path);
    resolve(3, |outside| {
        for (name, value) in [
            ("wifi", "from the environment"),
            ("file", "from a file"),
            ("tool", "a\nb"),
        ] {
            let kind = if name == "tool" {
                Kind::Password
            } else {
                Kind::Given
            };
            match file.store.get(name, kind, outside) {
                Ok(secret) => assert_eq!(secret.reveal(), value),
                Err(error) => assert!(name == "tool" && !error.to_string().contains("a\nb"), "{error}"),
            }
        }
    });
    file.store.rotate("ca", Kind::Key, &mut noise(4)).unwrap();
    file.save().unwrap();
    assert_eq!(mode(&path), 0o600);
    let after = fs::read_to_string(&path).unwrap();
    assert!(after.contains("# mine\nwifi: {env: HOME_WIFI}\n"), "{after}");
    let mut file = file_of(&path);
    let last = all(&mut file, 5);
    assert_ne!(last[0], first[0]);
    assert_eq!(last[1..], first[1..]);
    // PyYAML, which many tools read such files with, sees the same texts.
    if tools::have(&["python3"]) {
        let script = "import sys\ntry:\n import yaml\nexcept ImportError:\n sys.exit()\n\
                      print(yaml.safe_load(open(sys.argv[1]))['token'], end='')";
        let seen = said(tools::command("python3").arg("-c").arg(script).arg(&path));
        assert!(seen.is_empty() || seen == last[1].reveal());
    }
}

#[test]
fn a_file_of_secrets_that_is_not_right_is_refused_without_showing_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secrets.yaml");
    let private = fs::Permissions::from_mode(0o600);
    for (text, word) in [
        ("wifi: hunter2: hunter2\n", "not YAML"),
        ("hunter2\n", "a map of names and secrets"),
        ("wifi: [hunter2]\n", "`env`, `file` or `command`"),
        ("wifi: {env: A, file: hunter2}\n", "give one of"),
        ("wifi: {command: []}\n", "begins with the program"),
        ("wifi: {pass: hunter2}\n", "unknown key"),
        ("wi fi: hunter2\n", "letters, digits"),
        ("wifi:\n", "a secret is a text"),
    ] {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, private.clone()).unwrap();
        let error = SecretFile::open(&path).unwrap_err().to_string();
        assert!(
            error.contains(word) && error.contains("secrets.yaml:1"),
            "{text}: {error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
    }
    fs::write(&path, "wifi: hunter2\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let error = SecretFile::open(&path).unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");

    let sources = "env: {env: NO_SUCH}\nfile: {file: nowhere}\nnone: {command: [\"true\"]}\nfails: {command: [\"false\"]}\n";
    fs::write(&path, sources).unwrap();
    fs::set_permissions(&path, private).unwrap();
    let mut file = file_of(&path);
    for (name, word) in [
        ("env", "`NO_SUCH` is not set"),
        ("file", "cannot read"),
        ("none", "gives nothing"),
        ("fails", "`false` failed"),
    ] {
        let error = resolve(1, |outside| file.store.get(name, Kind::Given, outside)).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
    file.save().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), sources, "nothing was made");
}
