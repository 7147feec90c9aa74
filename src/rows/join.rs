//! Who joins a cluster with which secret, and how the node knows whom it joins.

use serde_json::Value;
use x509_cert::der::{DecodePem, Encode};

use crate::values::Digest;

use super::case::need;
use super::kubernetes::{CONFIG, KUBEADM, is_k3s};
use super::text::{strings, yaml, yamls};
use super::{Case, Judged, Row, Stop, applies, fails, holds};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: "F102",
        title: "k3s has its settings in a file for root alone, and units hold no token",
        judge: f102,
    },
    Row {
        id: "F107",
        title: "the secret to join with cannot be guessed and is the cluster's",
        judge: f107,
    },
    Row {
        id: "F108",
        title: "who joins checks the certificate of whom it joins",
        judge: f108,
    },
    Row {
        id: "P24",
        title: "the hash to join with is that of the cluster's own root certificate",
        judge: p24,
    },
];

/// The settings of k3s.
fn config(case: &Case<'_>) -> Result<Value, Stop> {
    yaml(CONFIG, &need(case.root, CONFIG)?)
}

/// A token of the settings.
fn token(config: &Value, key: &str) -> Option<String> {
    config[key].as_str().map(str::to_owned)
}

fn f102(case: &Case<'_>) -> Judged {
    applies(is_k3s(case)?)?;
    let config = config(case)?;
    let Some(stat) = case.file(CONFIG)? else {
        return fails(format!("`{CONFIG}` is missing"));
    };
    holds(stat.mode == 0o600 && (stat.uid, stat.gid) == (0, 0), || {
        format!(
            "`{CONFIG}` has mode {:04o} and owner {}:{}, not 0600 and root's",
            stat.mode, stat.uid, stat.gid
        )
    })?;
    let values: Vec<String> = ["token", "agent-token"]
        .iter()
        .filter_map(|key| token(&config, key))
        .collect();
    for (path, text) in case.units()? {
        let word = ["--token", "--agent-token", "K3S_TOKEN=", "K3S_AGENT_TOKEN="]
            .into_iter()
            .find(|word| text.contains(word));
        holds(word.is_none(), || {
            format!(
                "`{path}` names `{}`, and everybody may read units",
                word.unwrap_or_default()
            )
        })?;
        holds(!values.iter().any(|v| text.contains(v.as_str())), || {
            format!("`{path}` holds a token, and everybody may read units")
        })?;
    }
    Ok(())
}

/// Least information in a secret, in bits.
const BITS: f64 = 128.0;

fn f107(case: &Case<'_>) -> Judged {
    applies(is_k3s(case)?)?;
    let config = config(case)?;
    let mut seen = false;
    for key in ["token", "agent-token"] {
        let Some(token) = token(&config, key) else {
            continue;
        };
        seen = true;
        let secret = token.rsplit(':').next().unwrap_or_default();
        let hex = secret.bytes().all(|b| b.is_ascii_hexdigit());
        let letters: f64 = if hex { 16.0 } else { 36.0 };
        let mut kinds: Vec<u8> = secret.bytes().collect();
        kinds.sort_unstable();
        kinds.dedup();
        let bits = secret.len() as f64 * letters.log2();
        holds(bits >= BITS && kinds.len() >= 8, || {
            format!("the `{key}` of `{CONFIG}` is too short to be a secret of {BITS} bits")
        })?;
        let known = case.node.map(|n| &n.inputs.secrets).filter(|s| !s.is_empty());
        if let Some(known) = known {
            holds(known.values().any(|s| s.reveal().contains(secret)), || {
                format!("the `{key}` of `{CONFIG}` is none of this cluster's secrets")
            })?;
        }
    }
    holds(seen, || format!("`{CONFIG}` has no `token`"))
}

/// Hashes that the image checks its server by: of a token `K10HASH::user:secret`, or of kubeadm's `caCertHashes`.
fn pins(case: &Case<'_>) -> Result<Vec<Pin>, Stop> {
    let mut found = Vec::new();
    if let Some(text) = case.text(CONFIG)? {
        let config = yaml(CONFIG, &text)?;
        for key in ["token", "agent-token"] {
            let full = token(&config, key);
            if let Some(hash) = full
                .as_deref()
                .and_then(|t| t.strip_prefix("K10")?.split_once("::"))
            {
                found.push(Pin::Certificate(hash.0.to_owned()));
            }
        }
    }
    if let Some(text) = case.text(KUBEADM)? {
        for document in yamls(KUBEADM, &text)? {
            let hashes = &document["discovery"]["bootstrapToken"]["caCertHashes"];
            let hashes = strings(hashes)
                .into_iter()
                .filter_map(|h| h.strip_prefix("sha256:"));
            found.extend(hashes.map(|h| Pin::Key(h.to_owned())));
        }
    }
    Ok(found)
}

/// What is hashed.
enum Pin {
    /// The root certificate.
    Certificate(String),
    /// Its public key.
    Key(String),
}

impl Pin {
    fn hex(&self) -> &str {
        match self {
            Self::Certificate(hex) | Self::Key(hex) => hex,
        }
    }
}

fn f108(case: &Case<'_>) -> Judged {
    let joins_k3s = match case.text(CONFIG)? {
        Some(text) => yaml(CONFIG, &text)?["server"].is_string(),
        None => false,
    };
    let joins_kubeadm = match case.text(KUBEADM)? {
        Some(text) => yamls(KUBEADM, &text)?
            .iter()
            .any(|d| d["kind"] == "JoinConfiguration"),
        None => false,
    };
    applies(joins_k3s || joins_kubeadm)?;
    let pins = pins(case)?;
    holds(!pins.is_empty(), || {
        "the node joins a server without a hash of its certificate: whoever answers gets the secret"
            .to_owned()
    })?;
    let whole = |hex: &str| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    holds(pins.iter().all(|p| whole(p.hex())), || {
        "the hash of the server's certificate is no SHA-256".to_owned()
    })
}

/// Certificates of a bundle, in its order.
fn certificates(bundle: &str) -> Result<Vec<x509_cert::Certificate>, Stop> {
    const END: &str = "-----END CERTIFICATE-----";
    bundle
        .split_inclusive(END)
        .filter(|part| part.contains(END))
        .map(|part| {
            let begin = part.find("-----BEGIN").unwrap_or(0);
            x509_cert::Certificate::from_pem(format!("{}\n", &part[begin..]).as_bytes())
                .map_err(|e| Stop::Fails(format!("a certificate cannot be read: {e}")))
        })
        .collect()
}

fn p24(case: &Case<'_>) -> Judged {
    let pins = pins(case)?;
    applies(!pins.is_empty())?;
    let mut bundle = None;
    for path in [
        "/var/lib/rancher/k3s/server/tls/server-ca.crt",
        "/etc/kubernetes/pki/ca.crt",
    ] {
        bundle = bundle.or(case.text(path)?);
    }
    let bundle = bundle
        .or_else(|| case.authority.clone())
        .ok_or(Stop::Needs("the kubeconfig beside the image"))?;
    let all = certificates(&bundle)?;
    let Some(root) = all.last() else {
        return fails("the certificate of the cluster's authority is missing");
    };
    let der = |what: Result<Vec<u8>, x509_cert::der::Error>| what.map_err(|e| Stop::Fails(e.to_string()));
    for pin in pins {
        let right = match &pin {
            // k3s takes the bytes of the file where there is no chain.
            Pin::Certificate(_) if all.len() == 1 => Digest::sha256(bundle.as_bytes()),
            Pin::Certificate(_) => Digest::sha256(&der(root.to_der())?),
            Pin::Key(_) => Digest::sha256(&der(root.tbs_certificate().subject_public_key_info().to_der())?),
        };
        holds(right.hex() == pin.hex(), || {
            format!(
                "the node joins whom has the hash {}, and the cluster's root has {}",
                pin.hex(),
                right.hex()
            )
        })?;
    }
    Ok(())
}
