use super::{AmendError, line_ending, lines, push_line};

/// Keys of which every line counts, so that a value is added beside the others instead of replacing them.
const REPEATED: [&str; 6] = [
    "dtoverlay",
    "dtparam",
    "device_tree_overlay",
    "device_tree_param",
    "gpio",
    "include",
];

/// Sets and removes keys in one section of config.txt (F020).
///
/// Lines before the first `[…]` belong to `all`. A key that is set stands once in the section afterwards, where
/// its last line was, since the firmware takes the last; `dtoverlay`, `dtparam`, `gpio` and the like may stand
/// several times, so for them only the very line is made sure of. A missing key goes to the end of the last such
/// section, a missing section to the end of the file. Comments, blank lines, line endings and other sections stay.
///
/// ```
/// use ceil_img::amend::config_txt;
/// let text = config_txt("gpu_mem=64\n[pi4]\narm_boost=1\n", "all", &[("gpu_mem", "16")], &[""; 0])?;
/// assert_eq!(text, "gpu_mem=16\n[pi4]\narm_boost=1\n");
/// # Ok::<(), ceil_img::amend::AmendError>(())
/// ```
///
/// # Errors
/// [`AmendError::Unwritable`] for a section, key or value that would break the line.
pub fn config_txt<K, V, U>(
    text: &str,
    section: &str,
    set: &[(K, V)],
    unset: &[U],
) -> Result<String, AmendError>
where
    K: AsRef<str>,
    V: AsRef<str>,
    U: AsRef<str>,
{
    let breaks = |c: char| c.is_control();
    let refuse = |what: &str| AmendError::Unwritable(what.escape_debug().to_string(), "config.txt");
    if section.is_empty() || section.contains(breaks) || section.contains(['[', ']']) {
        return Err(refuse(section));
    }
    let ending = line_ending(text);
    let mut lines = lines(text);
    for key in unset {
        let mine = members(&lines, section);
        let mut at = mine.iter();
        lines.retain(|line| !(*at.next().unwrap_or(&false) && key_of(line) == Some(key.as_ref())));
    }
    for (position, (key, value)) in set.iter().enumerate() {
        let (key, value) = (key.as_ref(), value.as_ref());
        if key.is_empty() || key.contains(breaks) || key.contains(['=', '#', '[']) {
            return Err(refuse(key));
        }
        if value.contains(breaks) {
            return Err(refuse(value));
        }
        // A list of values given for one key means one line for each.
        let repeated = REPEATED.contains(&key)
            || set
                .iter()
                .enumerate()
                .any(|(i, (k, _))| i != position && k.as_ref() == key);
        set_key(&mut lines, section, key, value, repeated, ending);
    }
    Ok(lines.concat())
}

fn set_key(lines: &mut Vec<String>, section: &str, key: &str, value: &str, repeated: bool, ending: &str) {
    let wanted = format!("{key}={value}");
    let mine = members(lines, section);
    let found: Vec<usize> = (0..lines.len())
        .filter(|i| mine[*i] && key_of(&lines[*i]) == Some(key) && (!repeated || lines[*i].trim() == wanted))
        .collect();
    if let Some((last, earlier)) = found.split_last() {
        if lines[*last].trim() != wanted {
            let tail = if lines[*last].ends_with('\n') { ending } else { "" };
            lines[*last] = format!("{wanted}{tail}");
        }
        for i in earlier.iter().rev() {
            lines.remove(*i);
        }
        return;
    }
    match mine.iter().rposition(|m| *m) {
        Some(end) => {
            // Blank lines at the end of a section separate it from the next.
            let mut at = end;
            while lines[at].trim().is_empty() && at > 0 && mine[at - 1] {
                at -= 1;
            }
            push_line(lines, at + 1, &wanted, ending);
        }
        None => {
            let end = lines.len();
            push_line(lines, end, &format!("[{section}]"), ending);
            push_line(lines, end + 1, &wanted, ending);
        }
    }
}

/// Whether each line belongs to the section; its header does too.
fn members(lines: &[String], section: &str) -> Vec<bool> {
    let mut inside = section.eq_ignore_ascii_case("all");
    lines
        .iter()
        .map(|line| {
            if let Some(name) = header(line) {
                inside = name.eq_ignore_ascii_case(section);
            }
            inside
        })
        .collect()
}

fn header(line: &str) -> Option<&str> {
    let (name, _) = line.trim().strip_prefix('[')?.split_once(']')?;
    Some(name.trim())
}

fn key_of(line: &str) -> Option<&str> {
    let line = line.trim();
    if line.starts_with(['#', '[']) {
        return None;
    }
    line.split_once('=').map(|(key, _)| key.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amend(text: &str, section: &str, set: &[(&str, &str)], unset: &[&str]) -> String {
        let once = config_txt(text, section, set, unset).expect("amended");
        let twice = config_txt(&once, section, set, unset).expect("amended again");
        assert_eq!(twice, once, "not idempotent");
        once
    }

    /// The shape of Raspberry Pi OS trixie's file.
    const STOCK: &str = "# For more options see the documentation\n\ndtparam=audio=on\n#gpu_mem=64\ndtoverlay=vc4-kms-v3d\narm_64bit=1\n\n[cm4]\notg_mode=1\n\n[cm5]\ndtoverlay=dwc2,dr_mode=host\n\n[all]\n";

    #[test]
    fn a_new_key_goes_to_the_end_of_the_last_section_of_its_name() {
        assert_eq!(
            amend(STOCK, "all", &[("gpu_mem", "16")], &[]),
            format!("{STOCK}gpu_mem=16\n")
        );
        assert_eq!(
            amend(STOCK, "cm4", &[("gpu_mem", "16")], &[]),
            STOCK.replace("otg_mode=1\n", "otg_mode=1\ngpu_mem=16\n")
        );
    }

    #[test]
    fn a_known_key_is_changed_in_place() {
        assert_eq!(
            amend(STOCK, "all", &[("arm_64bit", "0")], &[]),
            STOCK.replace("arm_64bit=1", "arm_64bit=0")
        );
        assert_eq!(amend(STOCK, "all", &[("arm_64bit", "1")], &[]), STOCK);
    }

    #[test]
    fn other_sections_are_left_alone() {
        let text = "gpu_mem=64\n[pi4]\ngpu_mem=128\n";
        assert_eq!(
            amend(text, "all", &[("gpu_mem", "16")], &[]),
            "gpu_mem=16\n[pi4]\ngpu_mem=128\n"
        );
        assert_eq!(
            amend(text, "pi4", &[("gpu_mem", "16")], &[]),
            "gpu_mem=64\n[pi4]\ngpu_mem=16\n"
        );
        assert_eq!(amend(text, "all", &[], &["gpu_mem"]), "[pi4]\ngpu_mem=128\n");
    }

    #[test]
    fn a_key_that_stands_twice_stands_once_where_the_firmware_took_it() {
        assert_eq!(
            amend("a=1\nb=1\n[pi4]\na=7\n[all]\na=2\n", "all", &[("a", "3")], &[]),
            "b=1\n[pi4]\na=7\n[all]\na=3\n"
        );
    }

    #[test]
    fn a_missing_section_is_appended() {
        assert_eq!(
            amend("[pi4]\nx=1", "all", &[("a", "1")], &[]),
            "[pi4]\nx=1\n[all]\na=1\n"
        );
        assert_eq!(amend("x=1\n", "pi5", &[("a", "1")], &[]), "x=1\n[pi5]\na=1\n");
        assert_eq!(amend("", "all", &[("a", "1")], &[]), "[all]\na=1\n");
    }

    #[test]
    fn overlays_stand_beside_each_other() {
        assert_eq!(
            amend(
                "dtoverlay=a\ndtparam=x=on\n",
                "all",
                &[("dtoverlay", "b"), ("dtoverlay", "a"), ("dtparam", "y=on")],
                &[]
            ),
            "dtoverlay=a\ndtparam=x=on\ndtoverlay=b\ndtparam=y=on\n"
        );
    }

    #[test]
    fn line_endings_are_kept() {
        assert_eq!(
            amend("a=1\r\nb=2\r\n", "all", &[("a", "3"), ("c", "4")], &[]),
            "a=3\r\nb=2\r\nc=4\r\n"
        );
        assert_eq!(amend("a=1\nb=2", "all", &[("b", "3")], &[]), "a=1\nb=3");
        assert_eq!(amend("a=1\nb=2", "all", &[("c", "3")], &[]), "a=1\nb=2\nc=3\n");
    }

    #[test]
    fn comments_do_not_count() {
        assert_eq!(
            amend("#gpu_mem=64\n # [pi4]\n", "all", &[("gpu_mem", "16")], &[]),
            "#gpu_mem=64\n # [pi4]\ngpu_mem=16\n"
        );
    }

    #[test]
    fn refuses_what_would_break_the_line() {
        for (section, key, value) in [
            ("a]", "k", "v"),
            ("", "k", "v"),
            ("all", "k=", "v"),
            ("all", "k", "v\nw"),
        ] {
            assert!(
                config_txt("", section, &[(key, value)], &[""; 0]).is_err(),
                "{section} {key}"
            );
        }
    }
}
