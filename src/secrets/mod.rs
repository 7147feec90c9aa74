//! Secrets of a cluster: made once, kept in a file beside the cluster file, and then stable.
//!
//! This room knows keys, certificates, tokens, password hashes, and the file that they are kept in. It must not know
//! images, plans or nodes. What is derived from a secret (a certificate, a public key, a hash) follows from it and
//! from the arguments alone: randomness is used only to make a secret that is not there yet, and comes in as an
//! argument. No value is ever part of a message or of a `Debug` text.

mod kubernetes;
mod password;
mod pki;
mod ssh;
mod store;
mod text;
mod wifi;
mod wireguard;

pub use kubernetes::{BootstrapToken, k3s_token, spki_hash};
pub use password::{Scheme, hash_password};
pub use pki::{Authority, CertificateRequest, KeyPair, Usage, Validity};
pub use ssh::HostKey;
pub use store::{Outside, SecretStore, Source, StoreError};
pub use text::{Kind, Secret};
pub use wifi::wifi_psk;
pub use wireguard::WireGuardKey;

/// Fills a buffer with random bytes; the one way by which randomness comes into this room.
pub type Fill<'a> = &'a mut dyn FnMut(&mut [u8]) -> std::io::Result<()>;

/// Why something could not be made of a secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The value is not what its name says.
    #[error("the secret `{name}` is not {wanted}")]
    Malformed {
        /// Its name in the store.
        name: String,
        /// What would be right.
        wanted: &'static str,
    },
    /// A name, address or time that a certificate cannot hold.
    #[error("a certificate for `{subject}` cannot be made: {why}")]
    Certificate {
        /// Whom it was for.
        subject: String,
        /// What is wrong.
        why: String,
    },
    /// The system gives no randomness.
    #[error("the system gives no random numbers")]
    Random(#[from] std::io::Error),
}
