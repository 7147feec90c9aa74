//! Keys of WireGuard: Curve25519 (RFC 7748), 32 bytes in Base64 as `wg genkey` and `wg pubkey` print them.

use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::text::{from_base64, malformed, to_base64};
use super::{Fill, Secret, SecretError};

/// A private key.
pub struct WireGuardKey(StaticSecret);

impl std::fmt::Debug for WireGuardKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WireGuardKey(…)")
    }
}

impl WireGuardKey {
    /// A fresh key.
    ///
    /// # Errors
    /// [`SecretError::Random`].
    pub fn make(fill: Fill<'_>) -> Result<Self, SecretError> {
        let mut bytes = Zeroizing::new([0; 32]);
        fill(&mut *bytes)?;
        // Clamped as RFC 7748 section 5 says, so that the text is what `wg` would have written.
        bytes[0] &= 248;
        bytes[31] = bytes[31] & 127 | 64;
        Ok(Self(StaticSecret::from(*bytes)))
    }

    /// Reads one as `wg genkey` prints it.
    ///
    /// # Errors
    /// [`SecretError::Malformed`].
    pub fn from_base64(name: &str, text: &Secret) -> Result<Self, SecretError> {
        let bytes = from_base64(text.reveal()).and_then(|b| <[u8; 32]>::try_from(&b[..]).ok());
        match bytes {
            Some(bytes) => Ok(Self(StaticSecret::from(*Zeroizing::new(bytes)))),
            None => Err(malformed(
                name,
                "a WireGuard key: 32 bytes in Base64, as `wg genkey` prints it",
            )),
        }
    }

    /// As `wg genkey` prints it.
    #[must_use]
    pub fn to_base64(&self) -> Secret {
        Secret::new(to_base64(self.0.as_bytes()))
    }

    /// The public key, as `wg pubkey` prints it.
    #[must_use]
    pub fn public(&self) -> String {
        to_base64(PublicKey::from(&self.0).as_bytes())
    }
}
