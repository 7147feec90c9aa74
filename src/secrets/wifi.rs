//! WiFi keys: what a passphrase becomes, so that an image holds no passphrase that is used elsewhere.

use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use zeroize::Zeroizing;

use super::{Secret, SecretError};
use crate::values::hex;

/// The pre-shared key of a network as 64 hexadecimal digits: PBKDF2-HMAC-SHA1 of the passphrase with the name of the
/// network as salt, 4096 rounds, 256 bits (IEEE 802.11-2020, annex J.4.1). A value that is such a key already is taken
/// as it is.
///
/// # Errors
/// [`SecretError::Malformed`]: a passphrase has 8 to 63 printable ASCII characters.
pub fn wifi_psk(name: &str, ssid: &str, passphrase: &Secret) -> Result<Secret, SecretError> {
    let text = passphrase.reveal();
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(Secret::new(text.to_ascii_lowercase()));
    }
    if !(8..=63).contains(&text.len()) || !text.bytes().all(|b| (32..127).contains(&b)) {
        return Err(SecretError::Malformed {
            name: name.to_owned(),
            wanted: "a WiFi passphrase of 8 to 63 printable ASCII characters, or a key of 64 hexadecimal digits",
        });
    }
    let mut key = Zeroizing::new([0u8; 32]);
    pbkdf2_hmac::<Sha1>(text.as_bytes(), ssid.as_bytes(), 4096, &mut *key);
    Ok(Secret::new(hex(&*key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first two test vectors of IEEE 802.11-2020, annex J.4.2.
    #[test]
    fn f091_published_vectors() {
        for (passphrase, ssid, key) in [
            (
                "password",
                "IEEE",
                "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e",
            ),
            (
                "ThisIsAPassword",
                "ThisIsASSID",
                "0dc0d6eb90555ed6419756b9a15ec3e3209b63df707dd508d14581f8982721af",
            ),
        ] {
            let psk = wifi_psk("w", ssid, &Secret::new(passphrase)).expect("psk");
            assert_eq!(psk.reveal(), key);
        }
        assert!(wifi_psk("w", "s", &Secret::new("short")).is_err());
        let key = "F".repeat(64);
        assert_eq!(
            wifi_psk("w", "s", &Secret::new(key.as_str()))
                .expect("key")
                .reveal(),
            "f".repeat(64)
        );
    }
}
