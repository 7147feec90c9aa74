use super::AmendError;

/// `COMMAND_LINE_SIZE` of arm64 is 2048 with the final zero byte.
const MAX_LEN: usize = 2047;

/// Adds and removes words of a kernel command line (P04 to P09, F025).
///
/// Order is kept and new words go to the end, before a bare `--`, after which words belong to init. A word that is
/// there is not added again. A word to remove is a whole `key=value`, or a bare key for every value of it. Comma
/// lists of `cgroup_enable` and `cgroup_disable` become one word each, since not every kernel and script reads
/// them (one with a quote stays, since its commas may belong to a value), and `cgroup_enable=memory` stands after every other cgroup word, since the last one counts. The result
/// is one line with one newline.
///
/// ```
/// use ceil_img::amend::kernel_args;
/// let line = kernel_args("root=PARTUUID=1-02 rootwait quiet resize\n", &["psi=1"], &["quiet"])?;
/// assert_eq!(line, "root=PARTUUID=1-02 rootwait resize psi=1\n");
/// # Ok::<(), ceil_img::amend::AmendError>(())
/// ```
///
/// # Errors
/// [`AmendError`] when the text has several lines with words, an open quote, or gets too long for the kernel.
pub fn kernel_args<A, R>(text: &str, add: &[A], remove: &[R]) -> Result<String, AmendError>
where
    A: AsRef<str>,
    R: AsRef<str>,
{
    let mut words: Vec<String> = Vec::new();
    let mut init: Vec<String> = Vec::new();
    let mut for_init = false;
    for word in kernel_words(text)? {
        for_init |= word == "--";
        if for_init {
            init.push(word);
        } else {
            push(&mut words, &word, false);
        }
    }
    let mut gone: Vec<String> = Vec::new();
    for word in remove {
        split_list(word.as_ref()).for_each(|w| gone.push(w));
    }
    words.retain(|word| !gone.iter().any(|g| matches(word, g)));
    for word in add {
        let word = word.as_ref();
        if word.is_empty() || kernel_words(word)? != [word] {
            return Err(AmendError::Unwritable(
                word.escape_debug().to_string(),
                "a kernel command line as one word",
            ));
        }
        push(&mut words, word, true);
    }
    memory_last(&mut words);
    words.extend(init);
    let line = words.join(" ");
    if line.len() > MAX_LEN {
        return Err(AmendError::TooLong(line.len()));
    }
    Ok(line + "\n")
}

/// The words of a command line, split at blanks outside double quotes as the kernel's `next_arg` does.
///
/// # Errors
/// [`AmendError`] when the text has several lines with words, or an open quote.
pub fn kernel_words(text: &str) -> Result<Vec<String>, AmendError> {
    let full: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let line = match full[..] {
        [] => return Ok(Vec::new()),
        [line] => line,
        _ => return Err(AmendError::SeveralLines(full.len())),
    };
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in line.chars() {
        if c.is_ascii_whitespace() && !quoted {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            continue;
        }
        quoted ^= c == '"';
        word.push(c);
    }
    if quoted {
        return Err(AmendError::OpenQuote(word));
    }
    if !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

/// One word, or one for each item of a cgroup comma list. One with a quote stays whole: its parts could hold half a
/// pair each, and a half reaches over the blank to the next word.
fn split_list(word: &str) -> impl Iterator<Item = String> {
    let list = word.split_once('=').filter(|(key, value)| {
        matches!(*key, "cgroup_enable" | "cgroup_disable") && value.contains(',') && !value.contains('"')
    });
    match list {
        Some((key, value)) => value
            .split(',')
            .filter(|item| !item.is_empty())
            .map(|item| format!("{key}={item}"))
            .collect::<Vec<_>>(),
        None => vec![word.to_owned()],
    }
    .into_iter()
}

/// Words that stand there twice stay (`console=` has an order), except for cgroup words.
fn push(words: &mut Vec<String>, word: &str, once: bool) {
    for word in split_list(word) {
        if !(once || is_cgroup(&word)) || !words.contains(&word) {
            words.push(word);
        }
    }
}

fn is_cgroup(word: &str) -> bool {
    word.starts_with("cgroup_")
}

fn matches(word: &str, wanted: &str) -> bool {
    word == wanted
        || !wanted.contains('=')
            && word
                .strip_prefix(wanted)
                .is_some_and(|rest| rest.starts_with('='))
}

fn memory_last(words: &mut Vec<String>) {
    let Some(memory) = words.iter().position(|w| w == "cgroup_enable=memory") else {
        return;
    };
    if let Some(last) = words.iter().rposition(|w| is_cgroup(w))
        && last > memory
    {
        let word = words.remove(memory);
        words.insert(last, word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIXIE: &str = "console=serial0,115200 console=tty1 root=PARTUUID=4d8fd085-02 rootfstype=ext4 fsck.repair=yes rootwait resize\n";

    fn amend(text: &str, add: &[&str], remove: &[&str]) -> String {
        kernel_args(text, add, remove).expect("amended")
    }

    // rows: P07
    #[test]
    fn adds_at_the_end_and_keeps_the_rest() {
        assert_eq!(
            amend(TRIXIE, &["cgroup_enable=memory", "psi=1"], &[]),
            format!("{} cgroup_enable=memory psi=1\n", TRIXIE.trim_end())
        );
    }

    #[test]
    fn nothing_asked_is_nothing_changed() {
        assert_eq!(amend(TRIXIE, &[], &[]), TRIXIE);
        assert_eq!(
            amend("+x console=tty1  console=tty1\r\n", &[], &[]),
            "+x console=tty1 console=tty1\n"
        );
    }

    #[test]
    fn twice_is_once() {
        for (add, remove) in [
            (&["a", "b=1", "cgroup_enable=cpuset,memory"][..], &["quiet"][..]),
            (&["cgroup_enable=memory", "cgroup_memory=1"], &["console"]),
        ] {
            let once = amend(TRIXIE, add, remove);
            assert_eq!(amend(&once, add, remove), once);
        }
    }

    // rows: P06
    #[test]
    fn comma_lists_of_cgroups_are_split_and_memory_is_last() {
        assert_eq!(
            amend(
                "a cgroup_enable=cpuset,memory b\n",
                &["cgroup_memory=1", "cgroup_enable=memory"],
                &[]
            ),
            "a cgroup_enable=cpuset b cgroup_memory=1 cgroup_enable=memory\n"
        );
        assert_eq!(
            amend(
                "cgroup_enable=memory x cgroup_disable=memory swapaccount=1\n",
                &[],
                &[]
            ),
            "x cgroup_disable=memory cgroup_enable=memory swapaccount=1\n"
        );
        assert_eq!(
            amend("cgroup_enable=memory cgroup_enable=memory\n", &[], &[]),
            "cgroup_enable=memory\n"
        );
        // Other comma lists are values.
        assert_eq!(
            amend("console=serial0,115200\n", &[], &[]),
            "console=serial0,115200\n"
        );
    }

    #[test]
    fn removes_whole_words_or_every_value_of_a_key() {
        assert_eq!(
            amend(TRIXIE, &[], &["console"]),
            "root=PARTUUID=4d8fd085-02 rootfstype=ext4 fsck.repair=yes rootwait resize\n"
        );
        assert_eq!(
            amend(
                "quiet quieter=1 console=tty1 console=tty2\n",
                &[],
                &["quiet", "console=tty1"]
            ),
            "quieter=1 console=tty2\n"
        );
        assert_eq!(
            amend("root=a rootwait\n", &[], &["root"]),
            "rootwait\n",
            "a key is no prefix"
        );
        assert_eq!(
            amend("cgroup_enable=cpuset,memory\n", &[], &["cgroup_enable=cpuset"]),
            "cgroup_enable=memory\n"
        );
    }

    #[test]
    fn words_for_init_stay_last() {
        assert_eq!(amend("a -- b\n", &["c"], &[]), "a c -- b\n");
    }

    #[test]
    fn quotes_hold_blanks() {
        let text = "dyndbg=\"file a.c +p\" quiet\n";
        assert_eq!(amend(text, &["x"], &["quiet"]), "dyndbg=\"file a.c +p\" x\n");
    }

    /// Split at its comma, a quoted list became halves; of two equal halves one was dropped, and the line that came
    /// out had an open quote.
    #[test]
    fn a_cgroup_list_with_a_quote_stays_whole() {
        let text = "cgroup_enable=\"a,b\" cgroup_enable=\"a,c\" x\n";
        assert_eq!(amend(text, &[], &[]), text);
        assert_eq!(
            amend(text, &["cgroup_enable=memory"], &["x"]),
            "cgroup_enable=\"a,b\" cgroup_enable=\"a,c\" cgroup_enable=memory\n"
        );
        // The shape that was found at random: equal parts in one word, and one quote in each half of it.
        let text = "cgroup_enable=\"e,m,\"e,m,\"e,\"e\n";
        assert_eq!(amend(text, &[], &[]), text);
    }

    // rows: P08
    #[test]
    fn an_empty_or_open_line_ends_with_one_newline() {
        assert_eq!(amend("", &["a"], &[]), "a\n");
        assert_eq!(amend("a", &[], &[]), "a\n");
        assert_eq!(amend("a\n\n\n", &["b"], &[]), "a b\n");
    }

    #[test]
    fn refuses_what_the_firmware_would_drop() {
        assert_eq!(
            kernel_args("a\nb\n", &["c"], &[""; 0]),
            Err(AmendError::SeveralLines(2))
        );
        assert!(matches!(
            kernel_args("a=\"b\n", &["c"], &[""; 0]),
            Err(AmendError::OpenQuote(_))
        ));
        assert_eq!(
            kernel_args(&"x ".repeat(1023), &["yy"], &[""; 0]),
            Err(AmendError::TooLong(2048))
        );
        assert!(matches!(
            kernel_args("a", &["b c"], &[""; 0]),
            Err(AmendError::Unwritable(..))
        ));
        assert!(matches!(
            kernel_args("a", &["b\nc"], &[""; 0]),
            Err(AmendError::SeveralLines(2))
        ));
    }
}
