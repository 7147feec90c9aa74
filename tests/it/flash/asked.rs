//! Questions of `flash`, on a pseudo-terminal that Python makes.

use std::fs;

use super::files::{card, cluster};
use crate::support::cli::{Ran, Test};
use crate::support::tools;

/// Runs a program on a terminal of its own, answers the first question that ends with `] ` or `? `, and says all that was
/// shown; the exit code is the program's.
const TERMINAL: &str = r#"
import os, pty, sys
answer, program = sys.argv[1], sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(program[0], program)
shown, asked = b"", False
while True:
    try:
        part = os.read(terminal, 4096)
    except OSError:
        break
    if not part:
        break
    shown += part
    if not asked and shown.endswith((b"] ", b"? ")):
        asked = True
        os.write(terminal, answer.encode() + b"\n")
sys.stdout.write(shown.decode().replace("\r", ""))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

/// `flash` with these words on a terminal where somebody answers so.
fn asked(test: Test, answer: &str, words: &[&str], code: i32) -> Option<Ran> {
    let python = tools::find("python3")?;
    Some(
        test.args(words)
            .through([python.to_str().unwrap(), "-c", TERMINAL, answer])
            .status(code)
            .run(),
    )
}

fn test() -> Test {
    let test = cluster();
    card(&test.dir().join("card.img"), 320 << 20);
    test
}

#[test]
fn f237_what_is_erased_is_shown_and_asked_once() {
    let test = test();
    let before = fs::read(test.dir().join("card.img")).unwrap();
    let Some(ran) = asked(test, "n", &["flash", "card.img", "one"], 1) else {
        return;
    };
    assert!(
        ran.stdout.contains("gets one") && ran.stdout.contains("Erase it? [y/N] "),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("nothing was written"), "{}", ran.stdout);
    assert!(
        fs::read(ran.path("card.img")).unwrap() == before,
        "the card was written"
    );

    let ran = asked(ran.again(), "yes", &["flash", "card.img", "one"], 0).unwrap();
    assert!(
        ran.stdout.contains("written, read back and compared"),
        "{}",
        ran.stdout
    );
    // What is on the card by now is told before it goes.
    let ran = asked(ran.again(), "n", &["flash", "card.img", "two"], 1).unwrap();
    assert!(
        ran.stdout.contains("now holds") && ran.stdout.contains("`one`"),
        "{}",
        ran.stdout
    );
}

#[test]
fn the_node_is_asked_for_where_several_are_possible() {
    let Some(ran) = asked(test(), "two", &["flash", "card.img", "--yes"], 0) else {
        return;
    };
    let ran = ran.again().args(["cat", "card.img", "root:/etc/hostname"]).run();
    assert_eq!(ran.stdout, "two\n");
}
