//! Authorities and tokens of kubeadm.

use super::{Secrets, admin_kubeconfig, key, root, secret};
use crate::flavour::{Cluster, Flavour, FlavourError, Item, KubernetesVersion};
use crate::secrets::{Authority, BootstrapToken, KeyPair, Secret, spki_hash};

/// Where a server keeps its authorities.
pub const PKI_DIR: &str = "/etc/kubernetes/pki";

/// Who makes the key of service accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceAccountKey {
    /// It is on the card, the same on all servers.
    OnTheCard,
    /// kubeadm makes it on the first and only server, because it does not take one on an elliptic curve.
    MadeByKubeadm,
}

impl ServiceAccountKey {
    /// What this version takes.
    ///
    /// kubeadm takes authorities on elliptic curves from 1.15 on (kubernetes/kubernetes#76390), but the key of service
    /// accounts only since #112508, which went into 1.26 and into the next patch of the four minors before it.
    ///
    /// # Errors
    /// [`FlavourError::Version`] when it takes neither, or not for several servers.
    pub fn of(version: &KubernetesVersion, servers: usize) -> Result<Self, FlavourError> {
        let refuse = |why| {
            Err(FlavourError::Version {
                version: version.clone(),
                why,
            })
        };
        if !version.at_least(15) {
            return refuse(
                "kubeadm before 1.15 takes RSA authorities only, so none can be pinned; use 1.15 or later",
            );
        }
        let fixed = [(22, 15), (23, 12), (24, 6), (25, 2)];
        let takes = version.at_least(26)
            || fixed
                .iter()
                .any(|(minor, patch)| version.minor == *minor && version.at_least_patch(*minor, *patch));
        match (takes, servers) {
            (true, _) => Ok(Self::OnTheCard),
            (false, 0 | 1) => Ok(Self::MadeByKubeadm),
            (false, _) => refuse(
                "kubeadm cannot share its service account key between servers before 1.22.15, 1.23.12, 1.24.6, 1.25.2 and 1.26; use one of these, or one server",
            ),
        }
    }
}

/// Everything of kubeadm that follows from the secrets of a cluster. It stays on the workstation; nodes get
/// [`KubeadmPki::control_plane`] or [`KubeadmPki::worker`].
#[derive(Debug)]
pub struct KubeadmPki {
    ca: Authority,
    front_proxy: Authority,
    etcd: Authority,
    service: Option<KeyPair>,
    admin: KeyPair,
    token: Secret,
}

/// What servers get.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    /// Authorities with their keys and the key of service accounts; with them, servers join without a certificate key.
    pub files: Vec<Item>,
    /// How they join.
    pub join: Worker,
}

/// What every joining node gets: a token, and the pin of the authority it must find (F108).
#[derive(Debug, Clone)]
pub struct Worker {
    /// The bootstrap token.
    pub token: Secret,
    /// For `caCertHashes`.
    pub ca_hash: String,
}

impl KubeadmPki {
    /// Makes all authorities.
    ///
    /// # Errors
    /// A secret is missing or malformed, or the version cannot use them.
    pub fn new(cluster: &Cluster, secrets: &Secrets) -> Result<Self, FlavourError> {
        let service = match ServiceAccountKey::of(&cluster.version, cluster.servers)? {
            ServiceAccountKey::OnTheCard => Some(key(secrets, "sa-key")?),
            ServiceAccountKey::MadeByKubeadm => None,
        };
        let token = secret(secrets, "bootstrap-token")?;
        BootstrapToken::parse("bootstrap-token", token)?;
        // The names that kubeadm gives them.
        Ok(Self {
            ca: root(secrets, "ca-key", "kubernetes")?,
            front_proxy: root(secrets, "front-proxy-ca-key", "front-proxy-ca")?,
            etcd: root(secrets, "etcd-ca-key", "etcd-ca")?,
            service,
            admin: key(secrets, "admin-key")?,
            token: token.clone(),
        })
    }

    /// What every server gets, the same for all.
    #[must_use]
    pub fn control_plane(&self) -> ControlPlane {
        let at = |name: &str| format!("{PKI_DIR}/{name}");
        let mut files = vec![Item::dir(PKI_DIR, 0o700), Item::dir(&at("etcd"), 0o700)];
        for (name, authority) in [
            ("ca", &self.ca),
            ("front-proxy-ca", &self.front_proxy),
            ("etcd/ca", &self.etcd),
        ] {
            files.push(Item::text(&at(&format!("{name}.crt")), authority.pem()));
            files.push(Item::secret(
                &at(&format!("{name}.key")),
                authority.key_sec1_pem().reveal(),
            ));
        }
        if let Some(service) = &self.service {
            files.push(Item::secret(&at("sa.key"), service.to_sec1_pem().reveal()));
            files.push(Item::text(&at("sa.pub"), &service.public_pem()));
        }
        ControlPlane {
            files,
            join: self.worker(),
        }
    }

    /// What every worker gets.
    #[must_use]
    pub fn worker(&self) -> Worker {
        Worker {
            token: self.token.clone(),
            ca_hash: spki_hash(&self.ca),
        }
    }

    /// The administrator's kubeconfig for this URL of the API (F118), a secret.
    ///
    /// # Errors
    /// The certificate cannot be made.
    pub fn kubeconfig(&self, cluster: &Cluster, url: &str) -> Result<Secret, FlavourError> {
        admin_kubeconfig(
            &cluster.name,
            Flavour::Kubeadm,
            &cluster.version,
            url,
            self.ca.pem(),
            &self.ca,
            &self.admin,
        )
    }
}
