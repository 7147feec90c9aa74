use super::{AmendError, line_ending, lines, push_line};

/// One entry of `/etc/fstab`, with the octal codes of fstab(5) resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FstabEntry {
    /// What is mounted: `PARTUUID=…`, `LABEL=…`, a device.
    pub device: String,
    /// Where; `none` for swap.
    pub mount: String,
    /// File system type.
    pub kind: String,
    /// Mount options with commas.
    pub options: String,
}

/// The entries of an fstab in their order. Lines with fewer than three fields are no entries.
#[must_use]
pub fn parse_fstab(text: &str) -> Vec<FstabEntry> {
    text.lines()
        .filter_map(|line| {
            let fields = fields(line)?;
            Some(FstabEntry {
                device: unescape(fields.first()?),
                mount: unescape(fields.get(1)?),
                kind: unescape(fields.get(2)?),
                options: unescape(fields.get(3).unwrap_or(&"defaults")),
            })
        })
        .collect()
}

/// Sets the entry of a mount point to `line`, or removes it. The first entry of that mount point is replaced and
/// others of it go; a new one is appended. Everything else stays byte for byte.
///
/// # Errors
/// [`AmendError::Unwritable`] for a line that is not one entry of that mount point.
pub fn fstab(text: &str, mount: &str, line: Option<&str>) -> Result<String, AmendError> {
    if let Some(line) = line {
        let ok = !line.contains(['\n', '\r'])
            && fields(line).is_some_and(|f| f.len() >= 3 && same_mount(f[1], mount));
        if !ok {
            return Err(AmendError::Unwritable(line.escape_debug().to_string(), "fstab"));
        }
    }
    let ending = line_ending(text);
    let mut lines = lines(text);
    let found: Vec<usize> = (0..lines.len())
        .filter(|i| fields(&lines[*i]).is_some_and(|f| f.len() >= 2 && same_mount(f[1], mount)))
        .collect();
    let keep = usize::from(line.is_some());
    for i in found.iter().skip(keep).rev() {
        lines.remove(*i);
    }
    match (line, found.first()) {
        (Some(line), Some(first)) => {
            let tail = if lines[*first].ends_with('\n') { ending } else { "" };
            lines[*first] = format!("{line}{tail}");
        }
        (Some(line), None) => {
            let end = lines.len();
            push_line(&mut lines, end, line, ending);
        }
        (None, _) => {}
    }
    Ok(lines.concat())
}

fn fields(line: &str) -> Option<Vec<&str>> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    Some(line.split_ascii_whitespace().collect())
}

fn same_mount(a: &str, b: &str) -> bool {
    let clean = |text: &str| {
        let text = unescape(text);
        match text.trim_end_matches('/') {
            "" => "/".to_owned(),
            trimmed => trimmed.to_owned(),
        }
    };
    clean(a) == clean(b)
}

/// `\040`, `\011`, `\012`, `\134` and `\043`, as getmntent(3) reads them.
fn unescape(field: &str) -> String {
    let mut out = String::with_capacity(field.len());
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|code| match code {
            "040" => Some(' '),
            "011" => Some('\t'),
            "012" => Some('\n'),
            "134" => Some('\\'),
            "043" => Some('#'),
            _ => None,
        });
        match code {
            Some(c) => {
                out.push(c);
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOCK: &str = "proc            /proc           proc    defaults          0       0\nPARTUUID=4d8fd085-01  /boot/firmware  vfat    defaults          0       2\nPARTUUID=4d8fd085-02  /               ext4    defaults,noatime  0       1\n# a swapfile is not a swap partition, no line here\n";

    #[test]
    fn reads_the_stock_file() {
        let entries = parse_fstab(STOCK);
        let mounts: Vec<&str> = entries.iter().map(|e| e.mount.as_str()).collect();
        assert_eq!(mounts, ["/proc", "/boot/firmware", "/"]);
        assert_eq!(entries[2].options, "defaults,noatime");
        assert_eq!(
            parse_fstab("LABEL=a\\040b /a\\134040 ext4\n")[0],
            FstabEntry {
                device: "LABEL=a b".to_owned(),
                mount: "/a\\040".to_owned(),
                kind: "ext4".to_owned(),
                options: "defaults".to_owned()
            }
        );
    }

    #[test]
    fn sets_adds_and_removes() {
        let line = "LABEL=data /data ext4 defaults,nofail 0 2";
        let added = fstab(STOCK, "/data", Some(line)).expect("added");
        assert_eq!(added, format!("{STOCK}{line}\n"));
        assert_eq!(
            fstab(&added, "/data/", Some(line)),
            Ok(added.clone()),
            "twice is once"
        );
        let changed = fstab(&added, "/data", Some("LABEL=x /data xfs defaults 0 0")).expect("changed");
        assert_eq!(changed, format!("{STOCK}LABEL=x /data xfs defaults 0 0\n"));
        assert_eq!(fstab(&changed, "/data", None).as_deref(), Ok(STOCK));
        assert_eq!(fstab(STOCK, "/nowhere", None).as_deref(), Ok(STOCK));
    }

    #[test]
    fn entries_of_one_mount_point_become_one() {
        assert_eq!(
            fstab(
                "a /d x y 0 0\nb /e x y 0 0\nc /d x y 0 0",
                "/d",
                Some("n /d x y 0 0")
            )
            .as_deref(),
            Ok("n /d x y 0 0\nb /e x y 0 0\n")
        );
    }

    #[test]
    fn an_open_last_line_is_closed_first() {
        assert_eq!(
            fstab("a /d x", "/e", Some("b /e x y 0 0")).as_deref(),
            Ok("a /d x\nb /e x y 0 0\n")
        );
    }

    #[test]
    fn refuses_lines_of_another_mount_point() {
        assert!(fstab("", "/d", Some("a /e ext4 defaults 0 0")).is_err());
        assert!(fstab("", "/d", Some("a /d ext4\nb /d ext4")).is_err());
        assert!(fstab("", "/d", Some("# /d x")).is_err());
    }
}
