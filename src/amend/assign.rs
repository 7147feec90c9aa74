//! Files of settings, one a line: `KEY=value` as a shell reads it, and sshd's `Key value`.

use super::{AmendError, line_ending, lines, push_line};

/// Sets `KEY=value` in a file that a shell or an INI reader reads: the first line of that key is replaced, others of
/// it go, a new one is appended. Comments stay.
///
/// ```
/// use ceil_img::amend::assign;
/// assert_eq!(assign("A=1\n#B=2\n", "B", "3")?, "A=1\n#B=2\nB=3\n");
/// # Ok::<(), ceil_img::amend::AmendError>(())
/// ```
///
/// # Errors
/// [`AmendError::Unwritable`] when the value holds a line end.
pub fn assign(text: &str, key: &str, value: &str) -> Result<String, AmendError> {
    if value.contains(['\n', '\r']) {
        return Err(AmendError::Unwritable(
            value.escape_debug().to_string(),
            "one line",
        ));
    }
    let is_it = |line: &str| line.split_once('=').is_some_and(|(k, _)| k.trim() == key);
    Ok(replace(text, &format!("{key}={value}"), is_it, Where::End))
}

/// Sets an option of sshd_config(5) for all connections. sshd takes the first value that it finds, so the line goes to
/// the top; lines of that option that stand before the first `Match` go.
///
/// # Errors
/// [`AmendError::Unwritable`] when the value holds a line end.
pub fn sshd_option(text: &str, key: &str, value: &str) -> Result<String, AmendError> {
    if value.contains(['\n', '\r']) {
        return Err(AmendError::Unwritable(
            value.escape_debug().to_string(),
            "one line",
        ));
    }
    let mut global = true;
    let is_it = |line: &str| {
        let word = line
            .trim_start()
            .split([' ', '\t', '='])
            .next()
            .unwrap_or_default()
            .trim_end();
        global &= !word.eq_ignore_ascii_case("match");
        global && word.eq_ignore_ascii_case(key)
    };
    Ok(replace(text, &format!("{key} {value}"), is_it, Where::Top))
}

#[derive(PartialEq, Eq)]
enum Where {
    Top,
    End,
}

fn replace(text: &str, wanted: &str, mut is_it: impl FnMut(&str) -> bool, place: Where) -> String {
    let ending = line_ending(text);
    let mut all = lines(text);
    let found: Vec<usize> = (0..all.len()).filter(|i| is_it(&all[*i])).collect();
    let first = found.first().copied().filter(|_| place == Where::End);
    for i in found.into_iter().rev() {
        if Some(i) != first {
            all.remove(i);
        }
    }
    match first.and_then(|at| all.get_mut(at)) {
        Some(line) => {
            let tail = if line.ends_with('\n') { ending } else { "" };
            *line = format!("{wanted}{tail}");
        }
        None => {
            let at = if place == Where::Top { 0 } else { all.len() };
            push_line(&mut all, at, wanted, ending);
        }
    }
    all.concat()
}

/// Makes `/etc/locale.gen` list a locale: the line is uncommented, or added. A locale without a character set gets
/// UTF-8.
#[must_use]
pub fn locale_gen(text: &str, locale: &str) -> String {
    let charset = locale
        .split_once('.')
        .map_or("UTF-8", |(_, set)| set.split('@').next().unwrap_or(set));
    let wanted = format!("{locale} {charset}");
    let is_it = |line: &str| {
        let words: Vec<&str> = line.trim_start_matches(['#', ' ']).split_whitespace().collect();
        words.first() == Some(&locale) && words.len() == 2
    };
    replace(text, &wanted, is_it, Where::End)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_of_a_key_is_left() {
        assert_eq!(assign("A=1\nB=2\nA=3", "A", "x").as_deref(), Ok("A=x\nB=2\n"));
        assert_eq!(assign("", "A", "x").as_deref(), Ok("A=x\n"));
        assert_eq!(
            assign("[main]\nW=false\n", "W", "true").as_deref(),
            Ok("[main]\nW=true\n")
        );
        assert!(assign("", "A", "x\ny").is_err());
    }

    #[test]
    fn f051_the_option_comes_first_and_those_of_a_match_stay() {
        let text = "# c\npasswordauthentication yes\n#PasswordAuthentication no\nMatch User a\n\tPasswordAuthentication yes\n";
        let once = sshd_option(text, "PasswordAuthentication", "no").expect("set");
        assert_eq!(
            once,
            "PasswordAuthentication no\n# c\n#PasswordAuthentication no\nMatch User a\n\tPasswordAuthentication yes\n"
        );
        assert_eq!(
            sshd_option(&once, "PasswordAuthentication", "no").as_deref(),
            Ok(&*once)
        );
    }

    #[test]
    fn f046_a_locale_is_listed_once() {
        let text = "# en_GB ISO-8859-1\n# en_GB.UTF-8 UTF-8\n";
        let once = locale_gen(text, "en_GB.UTF-8");
        assert_eq!(once, "# en_GB ISO-8859-1\nen_GB.UTF-8 UTF-8\n");
        assert_eq!(locale_gen(&once, "en_GB.UTF-8"), once);
        assert_eq!(locale_gen("", "de_DE"), "de_DE UTF-8\n");
    }
}
