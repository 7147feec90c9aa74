//! Authorities and tokens of k3s.

use super::{Secrets, admin_kubeconfig, key, root, secret};
use crate::flavour::{Cluster, Flavour, FlavourError, Item};
use crate::secrets::{Authority, CertificateRequest, KeyPair, Kind, Secret, k3s_token};

/// Where a server keeps its authorities.
pub const TLS_DIR: &str = "/var/lib/rancher/k3s/server/tls";

/// Authorities below [`TLS_DIR`], and the secrets that their keys are. All must be there, those of etcd too where
/// there is no etcd. Source: k3s, `contrib/util/generate-custom-ca-certs.sh`.
const AUTHORITIES: [(&str, &str); 5] = [
    ("server-ca", "k3s-server-ca-key"),
    ("client-ca", "k3s-client-ca-key"),
    ("request-header-ca", "k3s-request-header-ca-key"),
    ("etcd/peer-ca", "k3s-etcd-peer-ca-key"),
    ("etcd/server-ca", "k3s-etcd-server-ca-key"),
];

/// First minor whose servers all take authorities that a root signed. Before early 2023 k3s gave the whole chain to
/// a signer that wants one certificate, and took the hash of a chain in another way.
const CHAIN_SINCE: u32 = 27;

/// Everything of k3s that follows from the secrets of a cluster. It stays on the workstation; nodes get
/// [`K3sPki::server`] or [`K3sPki::agent`].
#[derive(Debug)]
pub struct K3sPki {
    /// Root and intermediate, where there is a chain.
    above: Option<(Authority, Authority)>,
    authorities: Vec<(&'static str, Authority)>,
    service: KeyPair,
    admin: KeyPair,
    token: Secret,
    agent_token: Secret,
}

/// What servers of k3s get.
#[derive(Debug, Clone)]
pub struct K3sServer {
    /// Authorities with their keys, and the key of service accounts.
    pub files: Vec<Item>,
    /// `K10…::server:…`: the first server may be given the full form because its authorities are there before it.
    pub token: Secret,
    /// The bare agent token: the server compares it with what comes behind `node:`.
    pub agent_token: Secret,
}

/// What agents of k3s get: a token that names the root of the server's authority and opens nothing else (F108).
#[derive(Debug, Clone)]
pub struct K3sAgent {
    /// `K10…::node:…`.
    pub token: Secret,
}

impl K3sPki {
    /// Makes all authorities.
    ///
    /// # Errors
    /// A secret is missing or malformed, or the cluster's name does not fit into a certificate.
    pub fn new(cluster: &Cluster, secrets: &Secrets) -> Result<Self, FlavourError> {
        let token = |name: &str| -> Result<Secret, FlavourError> {
            let value = secret(secrets, name)?;
            Kind::Token.check(name, value)?;
            Ok(value.clone())
        };
        let called = |what: &str| format!("{}-k3s-{}", cluster.name, what.replace('/', "-"));
        let above = if cluster.version.at_least(CHAIN_SINCE) {
            let root = root(secrets, "k3s-root-ca-key", &called("root-ca"))?;
            let request = CertificateRequest::authority(&called("intermediate-ca"));
            let intermediate = root.intermediate(key(secrets, "k3s-intermediate-ca-key")?, &request)?;
            Some((root, intermediate))
        } else {
            None
        };
        let mut authorities = Vec::with_capacity(AUTHORITIES.len());
        for (name, secret) in AUTHORITIES {
            let authority = match &above {
                Some((_, intermediate)) => {
                    let request = CertificateRequest::authority(&called(name));
                    intermediate.intermediate(key(secrets, secret)?, &request)?
                }
                None => root(secrets, secret, &called(name))?,
            };
            authorities.push((name, authority));
        }
        Ok(Self {
            above,
            authorities,
            service: key(secrets, "k3s-service-key")?,
            admin: key(secrets, "admin-key")?,
            token: token("k3s-token")?,
            agent_token: token("k3s-agent-token")?,
        })
    }

    /// `server-ca.crt`, which is always the first.
    fn server_ca(&self) -> &Authority {
        &self.authorities[0].1
    }

    /// `client-ca.crt`, which is always the second.
    fn client_ca(&self) -> &Authority {
        &self.authorities[1].1
    }

    /// A certificate and what is above it, as its `.crt` file holds them.
    fn bundle(&self, authority: &Authority) -> String {
        match &self.above {
            Some((root, intermediate)) => [authority.pem(), intermediate.pem(), root.pem()].concat(),
            None => authority.pem().to_owned(),
        }
    }

    fn full_token(&self, user: &str, secret: &Secret) -> Secret {
        let authority = self.server_ca();
        let root = self.above.as_ref().map_or(authority, |(root, _)| root);
        k3s_token(&self.bundle(authority), root, user, secret)
    }

    /// What every server gets, the same for all.
    #[must_use]
    pub fn server(&self) -> K3sServer {
        let at = |name: &str| format!("{TLS_DIR}/{name}");
        let mut files = vec![
            Item::dir("/var/lib/rancher/k3s/server", 0o700),
            Item::dir(TLS_DIR, 0o700),
            Item::dir(&at("etcd"), 0o700),
        ];
        // Their keys stay on the workstation: with them, the authorities can be replaced and tokens stay valid.
        if let Some((root, intermediate)) = &self.above {
            files.push(Item::text(&at("root-ca.crt"), root.pem()));
            let bundle = [intermediate.pem(), root.pem()].concat();
            files.push(Item::text(&at("intermediate-ca.crt"), &bundle));
        }
        for (name, authority) in &self.authorities {
            files.push(Item::text(&at(&format!("{name}.crt")), &self.bundle(authority)));
            files.push(Item::secret(
                &at(&format!("{name}.key")),
                authority.key_sec1_pem().reveal(),
            ));
        }
        // k3s hands this one file to the API server as the key to sign with and as the key to check with.
        files.push(Item::secret(
            &at("service.key"),
            self.service.to_sec1_pem().reveal(),
        ));
        K3sServer {
            files,
            token: self.full_token("server", &self.token),
            agent_token: self.agent_token.clone(),
        }
    }

    /// What every agent gets.
    #[must_use]
    pub fn agent(&self) -> K3sAgent {
        K3sAgent {
            token: self.full_token("node", &self.agent_token),
        }
    }

    /// The administrator's kubeconfig for this URL of the API (F118), a secret.
    ///
    /// # Errors
    /// The certificate cannot be made.
    pub fn kubeconfig(&self, cluster: &Cluster, url: &str) -> Result<Secret, FlavourError> {
        admin_kubeconfig(
            &cluster.name,
            Flavour::K3s,
            &cluster.version,
            url,
            &self.bundle(self.server_ca()),
            self.client_ca(),
            &self.admin,
        )
    }
}
