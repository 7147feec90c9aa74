//! A value that keeps itself out of messages, and the kinds of values that are made here.

use std::fmt;

use base64::Engine as _;
use zeroize::Zeroizing;

use super::pki::KeyPair;
use super::ssh::HostKey;
use super::wireguard::WireGuardKey;
use super::{Fill, SecretError};
use crate::values::hex;

/// A secret text. It is wiped from memory when dropped, and its `Debug` text says nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text as a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The value, for the one place that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a secret is, and so how it is made and what it must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Private key of an authority or a certificate: P-256, PKCS #8 in PEM.
    Key,
    /// 32 hexadecimal digits, 128 bits: k3s tokens and the like.
    Token,
    /// `[a-z0-9]{6}.[a-z0-9]{16}`: a bootstrap token of kubeadm.
    BootstrapToken,
    /// Private host key of an SSH server: Ed25519 in OpenSSH's own form.
    SshHostKey,
    /// Private key of WireGuard: 32 bytes in Base64.
    WireGuard,
    /// A password that people type: 24 letters and digits that are not mistaken for each other, about 137 bits.
    Password,
    /// Any text that only the user knows, such as a WiFi passphrase; it is never made up.
    Given,
}

/// Lower-case letters and digits, as bootstrap tokens are written.
const TOKEN_ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
/// Without `0O1Il`, which look alike.
const PASSWORD_ALPHABET: &[u8] = b"abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const PASSWORD_LENGTH: usize = 24;

impl Kind {
    /// A fresh secret of this kind; `None` for one that only the user knows.
    ///
    /// # Errors
    /// [`SecretError::Random`] when there is no randomness.
    pub fn make(self, fill: Fill<'_>) -> Result<Option<Secret>, SecretError> {
        Ok(Some(match self {
            Self::Key => KeyPair::make(fill)?.to_pem(),
            Self::Token => {
                let mut bytes = [0; 16];
                fill(&mut bytes)?;
                Secret::new(hex(&bytes))
            }
            Self::BootstrapToken => {
                let text = letters(TOKEN_ALPHABET, 22, fill)?;
                Secret::new(format!("{}.{}", &text[..6], &text[6..]))
            }
            Self::SshHostKey => HostKey::make(fill)?.to_openssh(),
            Self::WireGuard => WireGuardKey::make(fill)?.to_base64(),
            Self::Password => Secret::new(letters(PASSWORD_ALPHABET, PASSWORD_LENGTH, fill)?.as_str()),
            Self::Given => return Ok(None),
        }))
    }

    /// Whether a value is one of this kind.
    ///
    /// # Errors
    /// [`SecretError::Malformed`], naming the secret but not its value.
    pub fn check(self, name: &str, value: &Secret) -> Result<(), SecretError> {
        let text = value.reveal();
        let (right, wanted) = match self {
            Self::Key => return KeyPair::from_pem(name, value).map(drop),
            Self::SshHostKey => return HostKey::from_openssh(name, value).map(drop),
            Self::WireGuard => return WireGuardKey::from_base64(name, value).map(drop),
            Self::Token => (
                text.len() >= 16 && text.bytes().all(|b| b.is_ascii_alphanumeric()),
                "a token of 16 letters and digits at least",
            ),
            Self::BootstrapToken => (
                text.split_once('.').is_some_and(|(id, secret)| {
                    let plain = |t: &str| t.bytes().all(|b| TOKEN_ALPHABET.contains(&b));
                    id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret)
                }),
                "a bootstrap token: six and sixteen lower-case letters and digits with a dot between",
            ),
            Self::Password => (
                text.len() >= 8 && !text.chars().any(char::is_control),
                "a password of eight characters at least",
            ),
            Self::Given => (
                !text.is_empty() && !text.contains(['\0', '\n', '\r']),
                "one line of text",
            ),
        };
        if right {
            Ok(())
        } else {
            Err(malformed(name, wanted))
        }
    }
}

pub(super) fn malformed(name: &str, wanted: &'static str) -> SecretError {
    SecretError::Malformed {
        name: name.to_owned(),
        wanted,
    }
}

/// Characters of an alphabet, each as likely as the others: bytes beyond the last whole multiple are thrown away.
fn letters(alphabet: &[u8], count: usize, fill: Fill<'_>) -> Result<Zeroizing<String>, SecretError> {
    let limit = 256 - 256 % alphabet.len();
    let mut text = Zeroizing::new(String::with_capacity(count));
    let mut byte = [0];
    while text.len() < count {
        fill(&mut byte)?;
        let number = usize::from(byte[0]);
        if number < limit {
            text.push(char::from(alphabet[number % alphabet.len()]));
        }
    }
    Ok(text)
}

pub(super) fn to_base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

pub(super) fn from_base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(text.trim());
    bytes.ok().map(Zeroizing::new)
}
