//! Password hashes for `/etc/shadow` and cloud-init's `hashed_passwd`, as crypt(5) describes them.

use sha_crypt::{PasswordHasher as _, ShaCrypt};
use sha2::{Digest as _, Sha256};
use yescrypt::Yescrypt;

use super::{Secret, SecretError};

/// How a password is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `$6$`: every base knows it.
    Sha512Crypt,
    /// `$y$`: the default of Debian 11 and later; Debian 10 and HypriotOS do not know it.
    Yescrypt,
}

/// Hashes a password. The salt follows from the password and `who`, so that the same secrets give the same image; it
/// differs between users, clusters and passwords.
///
/// # Errors
/// [`SecretError::Malformed`] for a password that cannot be hashed.
pub fn hash_password(who: &str, password: &Secret, scheme: Scheme) -> Result<String, SecretError> {
    let mut hasher = Sha256::new();
    hasher.update(b"ceil-img password salt 1\0");
    hasher.update(who.as_bytes());
    hasher.update(b"\0");
    hasher.update(password.reveal().as_bytes());
    let salt = hasher.finalize();
    let password = password.reveal().as_bytes();
    let hash = match scheme {
        Scheme::Sha512Crypt => {
            // Bytes of the salt beyond twelve would not fit into the 16 characters that crypt(5) uses.
            ShaCrypt::SHA512
                .hash_password_with_salt(password, &salt[..12])
                .map(|hash| hash.to_string())
        }
        Scheme::Yescrypt => Yescrypt::default()
            .hash_password_with_salt(password, &salt[..16])
            .map(|hash| hash.to_string()),
    };
    hash.map_err(|_| SecretError::Malformed {
        name: who.to_owned(),
        wanted: "a password that can be hashed",
    })
}
