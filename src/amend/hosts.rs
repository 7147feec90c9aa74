use super::{line_ending, lines, push_line};

/// Debian's address for the machine's own name.
const LOOPBACK: &str = "127.0.1.1";

/// Makes the one `127.0.1.1` line of `/etc/hosts` name this machine (P63), with its full name first when there is
/// a domain. A new line goes below that of `127.0.0.1`, otherwise to the top.
#[must_use]
pub fn hosts_loopback(text: &str, hostname: &str, domain: Option<&str>) -> String {
    let names = match domain {
        Some(domain) if !hostname.contains('.') => format!("{hostname}.{domain} {hostname}"),
        _ => hostname.to_owned(),
    };
    let wanted = format!("{LOOPBACK}\t{names}");
    let ending = line_ending(text);
    let mut lines = lines(text);
    let found: Vec<usize> = (0..lines.len())
        .filter(|i| address(&lines[*i]) == Some(LOOPBACK))
        .collect();
    for i in found.iter().skip(1).rev() {
        lines.remove(*i);
    }
    if let Some(first) = found.first() {
        let tail = if lines[*first].ends_with('\n') { ending } else { "" };
        lines[*first] = format!("{wanted}{tail}");
    } else {
        let at = lines
            .iter()
            .position(|line| address(line) == Some("127.0.0.1"))
            .map_or(0, |i| i + 1);
        push_line(&mut lines, at, &wanted, ending);
    }
    lines.concat()
}

/// Sets the lines of other machines, each an address and its names: a line of that address is replaced, others of it
/// go, new ones are appended in their order (F045).
#[must_use]
pub fn hosts_members(text: &str, members: &[(String, String)]) -> String {
    let ending = line_ending(text);
    let mut lines = lines(text);
    for (ip, names) in members {
        let found: Vec<usize> = (0..lines.len())
            .filter(|i| address(&lines[*i]) == Some(ip.as_str()))
            .collect();
        for i in found.iter().skip(1).rev() {
            lines.remove(*i);
        }
        let wanted = format!("{ip}\t{names}");
        if let Some(first) = found.first() {
            let tail = if lines[*first].ends_with('\n') { ending } else { "" };
            lines[*first] = format!("{wanted}{tail}");
        } else {
            let end = lines.len();
            push_line(&mut lines, end, &wanted, ending);
        }
    }
    lines.concat()
}

fn address(line: &str) -> Option<&str> {
    line.split(['#']).next()?.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_line_of_the_base() {
        let stock = "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost\n\n127.0.1.1\t\traspberrypi\n";
        let expected = "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost\n\n127.0.1.1\tone\n";
        assert_eq!(hosts_loopback(stock, "one", None), expected);
        assert_eq!(hosts_loopback(expected, "one", None), expected);
    }

    #[test]
    fn adds_the_line_with_the_full_name() {
        assert_eq!(
            hosts_loopback("# x\n127.0.0.1 localhost", "one", Some("ceil.internal")),
            "# x\n127.0.0.1 localhost\n127.0.1.1\tone.ceil.internal one\n"
        );
        assert_eq!(hosts_loopback("", "one", None), "127.0.1.1\tone\n");
    }

    #[test]
    fn f045_members_have_one_line_each() {
        let members = [
            ("10.0.0.1".to_owned(), "one.c one".to_owned()),
            ("10.0.0.2".to_owned(), "two".to_owned()),
        ];
        let once = hosts_members("127.0.0.1 localhost\n10.0.0.2 old\n10.0.0.2 older\n", &members);
        assert_eq!(once, "127.0.0.1 localhost\n10.0.0.2\ttwo\n10.0.0.1\tone.c one\n");
        assert_eq!(hosts_members(&once, &members), once);
    }

    #[test]
    fn several_lines_become_one_and_comments_stay() {
        assert_eq!(
            hosts_loopback(
                "#127.0.1.1 a\n127.0.1.1 b\n10.0.0.1 x\n127.0.1.1 c\n",
                "one",
                None
            ),
            "#127.0.1.1 a\n127.0.1.1\tone\n10.0.0.1 x\n"
        );
    }
}
