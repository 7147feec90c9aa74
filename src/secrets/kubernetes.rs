//! What a joining node is given, so that it trusts the right server and the server trusts it.

use super::pki::Authority;
use super::text::malformed;
use super::{Kind, Secret, SecretError};
use crate::values::Digest;

/// The pin of an authority for kubeadm's `caCertHashes`: `sha256:` and the digest of its SubjectPublicKeyInfo.
///
/// Source: kubeadm, `--discovery-token-ca-cert-hash` (as in RFC 7469).
#[must_use]
pub fn spki_hash(authority: &Authority) -> String {
    format!("sha256:{}", Digest::sha256(authority.spki_der()).hex())
}

/// The full token of k3s, `K10<hash>::<user>:<secret>`, by which a joining node checks the server's CA.
///
/// `bundle` is `server-ca.crt` as it lies on the server: with one certificate in it the hash is that of the bytes of
/// the file, with a chain it is that of the root's DER, which is `root`.
/// Source: k3s, `pkg/clientaccess/token.go`.
#[must_use]
pub fn k3s_token(bundle: &str, root: &Authority, user: &str, secret: &Secret) -> Secret {
    let hash = if bundle.matches("-----BEGIN CERTIFICATE-----").count() == 1 {
        Digest::sha256(bundle.as_bytes())
    } else {
        Digest::sha256(root.der())
    };
    Secret::new(format!("K10{}::{user}:{}", hash.hex(), secret.reveal()))
}

/// A bootstrap token of kubeadm in its two parts.
#[derive(Debug, Clone)]
pub struct BootstrapToken {
    /// The public part, six characters; it is in the name of the token's secret.
    pub id: String,
    /// The part that is not public.
    pub secret: Secret,
}

impl BootstrapToken {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`SecretError::Malformed`].
    pub fn parse(name: &str, token: &Secret) -> Result<Self, SecretError> {
        Kind::BootstrapToken.check(name, token)?;
        let (id, secret) = token
            .reveal()
            .split_once('.')
            .ok_or_else(|| malformed(name, "a bootstrap token"))?;
        Ok(Self {
            id: id.to_owned(),
            secret: Secret::new(secret),
        })
    }
}
