//! Host keys of SSH servers: Ed25519, in the form of OpenSSH.

use ed25519_dalek::SigningKey;
use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData};
use ssh_key::public::Ed25519PublicKey;
use ssh_key::{Algorithm, LineEnding, PrivateKey};
use zeroize::Zeroizing;

use super::text::malformed;
use super::{Fill, Secret, SecretError};

/// A host key, `/etc/ssh/ssh_host_ed25519_key`.
#[derive(Clone)]
pub struct HostKey(PrivateKey);

impl std::fmt::Debug for HostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HostKey(…)")
    }
}

impl HostKey {
    /// A fresh key.
    ///
    /// # Errors
    /// [`SecretError::Random`].
    pub fn make(fill: Fill<'_>) -> Result<Self, SecretError> {
        let mut seed = Zeroizing::new([0; 32]);
        fill(&mut *seed)?;
        let public = SigningKey::from_bytes(&seed).verifying_key().to_bytes();
        let pair = Ed25519Keypair {
            public: Ed25519PublicKey(public),
            private: Ed25519PrivateKey::from_bytes(&seed),
        };
        Ok(Self(
            PrivateKey::new(KeypairData::Ed25519(pair), "").map_err(|_| unusable("made"))?,
        ))
    }

    /// Reads one as `ssh-keygen -t ed25519` writes it, without a passphrase.
    ///
    /// # Errors
    /// [`SecretError::Malformed`].
    pub fn from_openssh(name: &str, text: &Secret) -> Result<Self, SecretError> {
        match PrivateKey::from_openssh(text.reveal()) {
            Ok(key) if !key.is_encrypted() && key.algorithm() == Algorithm::Ed25519 => Ok(Self(key)),
            _ => Err(unusable(name)),
        }
    }

    /// The private key file.
    #[must_use]
    pub fn to_openssh(&self) -> Secret {
        let text = self.0.to_openssh(LineEnding::LF);
        Secret::new(text.as_ref().map_or("", |text| text.as_str()))
    }

    /// The public key as one line, `ssh-ed25519 AAAA… comment`, without a line end.
    #[must_use]
    pub fn public(&self, comment: &str) -> String {
        let mut key = self.0.public_key().clone();
        key.set_comment(comment);
        key.to_openssh().unwrap_or_default()
    }

    /// A line of `known_hosts` (sshd(8)) for these names and addresses, without a line end.
    #[must_use]
    pub fn known_hosts(&self, names: &[String]) -> String {
        format!("{} {}", names.join(","), self.public("").trim_end())
    }
}

fn unusable(name: &str) -> SecretError {
    malformed(
        name,
        "an Ed25519 key without passphrase, as `ssh-keygen -t ed25519` writes it",
    )
}
