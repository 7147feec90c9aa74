//! The secrets that a cluster needs, and every file and token that follows from them.
//!
//! Who may have what is a matter of types: a server is made from [`K3sServer`] or [`ControlPlane`], an agent from
//! [`K3sAgent`] or [`Worker`], and the latter hold no key of an authority and no server token (P24, P25).

mod k3s;
mod kubeadm;
mod kubeconfig;

use std::collections::BTreeMap;

pub use k3s::{K3sAgent, K3sPki, K3sServer, TLS_DIR};
pub use kubeadm::{ControlPlane, KubeadmPki, PKI_DIR, ServiceAccountKey, Worker};
pub use kubeconfig::admin_group;

use super::{Flavour, FlavourError, KubernetesVersion};
use crate::secrets::{Authority, CertificateRequest, KeyPair, Kind, Secret};

/// The values of secrets by name; see [`wanted`] for the names.
pub type Secrets = BTreeMap<String, Secret>;

/// Where a secret may be, itself or in something that it can be read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// Nowhere but beside the cluster file.
    Workstation,
    /// On servers.
    Servers,
    /// On every node of the cluster.
    Nodes,
}

/// A secret that a cluster needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Its name in the store.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Where it may be.
    pub holder: Holder,
}

const fn want(name: &'static str, kind: Kind, holder: Holder) -> Wanted {
    Wanted { name, kind, holder }
}

const K3S: &[Wanted] = &[
    want("k3s-token", Kind::Token, Holder::Servers),
    want("k3s-agent-token", Kind::Token, Holder::Nodes),
    want("k3s-root-ca-key", Kind::Key, Holder::Workstation),
    want("k3s-intermediate-ca-key", Kind::Key, Holder::Workstation),
    want("k3s-server-ca-key", Kind::Key, Holder::Servers),
    want("k3s-client-ca-key", Kind::Key, Holder::Servers),
    want("k3s-request-header-ca-key", Kind::Key, Holder::Servers),
    want("k3s-etcd-peer-ca-key", Kind::Key, Holder::Servers),
    want("k3s-etcd-server-ca-key", Kind::Key, Holder::Servers),
    want("k3s-service-key", Kind::Key, Holder::Servers),
    want("admin-key", Kind::Key, Holder::Servers),
];

const KUBEADM: &[Wanted] = &[
    want("bootstrap-token", Kind::BootstrapToken, Holder::Nodes),
    want("ca-key", Kind::Key, Holder::Servers),
    want("front-proxy-ca-key", Kind::Key, Holder::Servers),
    want("etcd-ca-key", Kind::Key, Holder::Servers),
    want("sa-key", Kind::Key, Holder::Servers),
    want("admin-key", Kind::Key, Holder::Servers),
];

/// The secrets that a cluster of this flavour needs (F107).
#[must_use]
pub const fn wanted(flavour: Flavour) -> &'static [Wanted] {
    match flavour {
        Flavour::K3s => K3S,
        Flavour::Kubeadm => KUBEADM,
    }
}

fn secret<'a>(secrets: &'a Secrets, name: &str) -> Result<&'a Secret, FlavourError> {
    secrets
        .get(name)
        .ok_or_else(|| FlavourError::MissingSecret(name.to_owned()))
}

fn key(secrets: &Secrets, name: &str) -> Result<KeyPair, FlavourError> {
    Ok(KeyPair::from_pem(name, secret(secrets, name)?)?)
}

fn root(secrets: &Secrets, name: &str, common_name: &str) -> Result<Authority, FlavourError> {
    let request = CertificateRequest::authority(common_name);
    Ok(Authority::root(key(secrets, name)?, &request)?)
}

/// A kubeconfig of the administrator, signed by the authority of clients (F117, F118).
///
/// It holds a key, so it is a secret; it works as soon as the API answers, and the server need not be asked for it.
fn admin_kubeconfig(
    cluster: &str,
    flavour: Flavour,
    version: &KubernetesVersion,
    url: &str,
    bundle: &str,
    clients: &Authority,
    key: &KeyPair,
) -> Result<Secret, FlavourError> {
    let request = CertificateRequest::client("ceil-admin", &[admin_group(flavour, version)]);
    let certificate = clients.issue(key, &request)?;
    Ok(kubeconfig::write(cluster, url, bundle, &certificate, key))
}
