//! Bytes as text.

use std::fmt::Write as _;

/// Bytes as hexadecimal digits, in lower case and without a prefix.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
