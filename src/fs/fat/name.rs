//! Names: the short 8.3 form, the long form, and how they are compared.

use std::collections::BTreeSet;

/// Longest long name in UTF-16 units.
pub(super) const MAX_LONG: usize = 255;
/// Characters no name may hold, besides controls.
const FORBIDDEN: &str = "\"*/:<>?\\|";
/// Characters that a long name may hold and a short name may not.
const LONG_ONLY: &str = "+,;=[] .";
/// Code page 437 from 0x80: what bytes of short names mean, as Linux mounts them by default.
const CP437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// An 8.3 name as stored, padded with spaces, without a dot.
pub(super) type Short = [u8; 11];

/// Why a name cannot be stored, or `None`.
pub(super) fn refusal(name: &str) -> Option<String> {
    if let Some(c) = name.chars().find(|c| FORBIDDEN.contains(*c) || c.is_control()) {
        return Some(format!("FAT cannot hold a name with {c:?}"));
    }
    if name.ends_with(['.', ' ']) {
        return Some("FAT cannot hold a name that ends with a dot or a space".to_owned());
    }
    let units = name.encode_utf16().count();
    if units == 0 || units > MAX_LONG {
        return Some(format!(
            "FAT cannot hold a name of {units} characters; 1 to {MAX_LONG} would be right"
        ));
    }
    None
}

/// The form in which names are compared: upper case by character, as VFAT does.
pub(super) fn fold(name: &str) -> String {
    name.chars().map(upper).collect()
}

/// Whether two names mean one entry.
pub(super) fn same(one: &str, other: &str) -> bool {
    one.chars().map(upper).eq(other.chars().map(upper))
}

fn lowered(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

fn upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// Whether a character may stand in a short name as it is.
fn is_short_char(c: char) -> bool {
    c.is_ascii_graphic() && !c.is_ascii_lowercase() && !FORBIDDEN.contains(c) && !LONG_ONLY.contains(c)
}

/// The short form of a name that needs no long one: upper case 8.3.
pub(super) fn exact_short(name: &str) -> Option<Short> {
    let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let fits = (1..=8).contains(&base.len())
        && extension.len() <= 3
        && (extension.is_empty() != name.contains('.'))
        && base.chars().chain(extension.chars()).all(is_short_char);
    fits.then(|| pad(base, extension))
}

fn pad(base: &str, extension: &str) -> Short {
    let mut short = [b' '; 11];
    short[..base.len()].copy_from_slice(base.as_bytes());
    short[8..8 + extension.len()].copy_from_slice(extension.as_bytes());
    short
}

/// A short name for a long one that is not in `taken`: the upper-case form where nothing is lost by it, else
/// with the first free number (`LONGFI~1.TXT`). `None` when a million are taken.
pub(super) fn alias(name: &str, taken: &BTreeSet<Short>) -> Option<Short> {
    let trimmed = name.trim_start_matches('.');
    // A leading dot starts no extension.
    let (base, extension) = trimmed.rsplit_once('.').unwrap_or((trimmed, ""));
    let mut lossy = trimmed.len() != name.len();
    let mut convert = |part: &str, limit: usize| {
        let mut out = String::new();
        for c in part.chars() {
            let c = c.to_ascii_uppercase();
            let keep = is_short_char(c);
            lossy |= !keep;
            if matches!(c, ' ' | '.') {
                continue;
            }
            if out.len() == limit {
                lossy = true;
                break;
            }
            out.push(if keep { c } else { '_' });
        }
        out
    };
    let base = convert(base, 8);
    let extension = convert(extension, 3);
    if base.is_empty() {
        lossy = true;
    }
    if !lossy {
        let short = pad(&base, &extension);
        if !taken.contains(&short) {
            return Some(short);
        }
    }
    for number in 1..1_000_000u32 {
        let tail = format!("~{number}");
        let keep = base.len().min(8 - tail.len());
        let short = pad(&format!("{}{tail}", &base[..keep]), &extension);
        if !taken.contains(&short) {
            return Some(short);
        }
    }
    None
}

/// A volume label as text.
pub(super) fn display_label(label: &Short) -> String {
    let text: String = label.iter().map(|b| decode(*b)).collect();
    text.trim_end_matches(' ').to_owned()
}

fn decode(byte: u8) -> char {
    match byte {
        0x80.. => CP437.chars().nth(usize::from(byte - 0x80)).unwrap_or('\u{FFFD}'),
        ascii => ascii as char,
    }
}

/// A short name as text, with the case that the NT flags (`DIR_NTRes` bits 3 and 4) give.
pub(super) fn display_short(short: &Short, nt_flags: u8) -> String {
    let part = |bytes: &[u8], lower: bool| -> String {
        let end = bytes.iter().rposition(|b| *b != b' ').map_or(0, |p| p + 1);
        bytes[..end]
            .iter()
            .map(|b| if lower { lowered(decode(*b)) } else { decode(*b) })
            .collect()
    };
    let mut base = *short;
    // 0xE5 in first place means "deleted", so a name that begins with it is stored with 0x05.
    if base[0] == 0x05 {
        base[0] = 0xE5;
    }
    let mut text = part(&base[..8], nt_flags & 0x08 != 0);
    let extension = part(&base[8..], nt_flags & 0x10 != 0);
    if !extension.is_empty() {
        text.push('.');
        text.push_str(&extension);
    }
    text
}

/// `LDIR_Chksum`: ties long-name slots to their short name.
pub(super) fn checksum(short: &Short) -> u8 {
    short
        .iter()
        .fold(0u8, |sum, b| sum.rotate_right(1).wrapping_add(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(short: Short) -> String {
        String::from_utf8_lossy(&short).into_owned()
    }

    #[test]
    fn names_that_need_no_long_form() {
        assert_eq!(
            exact_short("CONFIG.TXT").map(text).as_deref(),
            Some("CONFIG  TXT")
        );
        assert_eq!(exact_short("A").map(text).as_deref(), Some("A          "));
        for long in [
            "config.txt",
            "A.B.C",
            "TOOLONGNAME",
            "A.LONG",
            ".A",
            "A B",
            "A+B",
            "Ä",
            "A.",
        ] {
            assert_eq!(exact_short(long), None, "{long}");
        }
    }

    #[test]
    fn aliases_follow_the_specification() {
        let mut taken = BTreeSet::new();
        for (name, short) in [
            ("config.txt", "CONFIG  TXT"),
            ("Config.TXT.bak", "CONFIG~1BAK"),
            ("bcm2712-rpi-5-b.dtb", "BCM271~1DTB"),
            ("bcm2712-d-rpi-5-b.dtb", "BCM271~2DTB"),
            (".hidden", "HIDDEN~1   "),
            ("a b", "AB~1       "),
            ("größe.txt", "GR__E~1 TXT"),
            ("日本", "__~1       "),
            ("x+y=z.dtbo", "X_Y_Z~1 DTB"),
            ("...", "~1         "),
        ] {
            let made = alias(name, &taken).expect("free");
            assert_eq!(text(made), short, "{name}");
            taken.insert(made);
        }
        for n in 3..12 {
            taken.insert(alias("bcm2712-other.dtb", &taken).expect("free"));
            let last = if n < 10 {
                format!("BCM271~{n}DTB")
            } else {
                format!("BCM27~{n}DTB")
            };
            assert!(taken.iter().any(|s| text(*s) == last), "{last}");
        }
    }

    #[test]
    fn short_names_are_shown_with_their_case_flags() {
        for (short, flags, shown) in [
            (b"CONFIG  TXT", 0x00, "CONFIG.TXT"),
            (b"CONFIG  TXT", 0x18, "config.txt"),
            (b"CONFIG  TXT", 0x08, "config.TXT"),
            (b"GR\x99\xE1E   TXT", 0x18, "größe.txt"),
            (b"\x05        BC", 0x00, "σ. BC"),
        ] {
            assert_eq!(display_short(short, flags), shown);
        }
    }

    #[test]
    fn checksum_of_a_known_name() {
        // From a directory that mtools wrote.
        assert_eq!(checksum(b"THEQUI~1FOX"), 7);
    }

    #[test]
    fn comparison_ignores_case_beyond_ascii() {
        assert_eq!(fold("Größe-Ünï.txt"), fold("GRÖßE-ÜNÏ.TXT"));
        assert_ne!(fold("a"), fold("b"));
    }

    #[test]
    fn refuses_what_cannot_be_stored() {
        for bad in ["a:b", "a\u{1}", "dot.", "space ", ""] {
            assert!(refusal(bad).is_some(), "{bad}");
        }
        assert!(refusal(&"ö".repeat(255)).is_none());
        assert!(refusal(&"ö".repeat(256)).is_some());
    }
}
