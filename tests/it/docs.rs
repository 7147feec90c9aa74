//! The examples of README.md are run, or listed here with the reason why not.

use std::fs;
use std::path::Path;

use crate::support::cli::Test;

/// Examples that are not run, each with its reason.
const NOT_RUN: [(&str, &str); 0] = [];

#[test]
fn examples_of_the_readme_run() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let Ok(text) = fs::read_to_string(path) else {
        return;
    };
    let examples = examples(&text);
    for (listed, _) in NOT_RUN {
        assert!(
            examples.iter().any(|e| e == listed),
            "`{listed}` is listed as not run, but README.md does not have it"
        );
    }
    // One folder for all of them: later examples use what earlier ones made.
    let mut test = Test::new();
    for example in examples {
        if NOT_RUN.iter().any(|(listed, _)| *listed == example) {
            continue;
        }
        let ran = test.args(example.split_whitespace().skip(1)).run();
        test = ran.again();
    }
}

/// The lines of `sh` and `console` blocks that call the program, without prompt and comment.
fn examples(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            inside = !inside && matches!(language.trim(), "sh" | "console");
            continue;
        }
        let line = line.trim_start().trim_start_matches("$ ");
        let line = line.split(" #").next().unwrap_or_default().trim_end();
        if inside && line.starts_with("ceil-img ") {
            found.push(line.to_owned());
        }
    }
    found
}

#[test]
fn examples_are_found_in_their_blocks_alone() {
    let text = "ceil-img not\n```sh\nceil-img plan one   # prints\nls\n```\n```yaml\nceil-img: no\n```\n\
                ```console\n$ ceil-img images\nname\n```\n";
    assert_eq!(examples(text), ["ceil-img plan one", "ceil-img images"]);
}
