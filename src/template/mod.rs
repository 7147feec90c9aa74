//! Templates: minijinja with undefined names as errors.
//!
//! This room knows texts and variables. It must not know files, images or the network.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use minijinja::value::Object;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};
use serde_json::Value;
use zeroize::Zeroizing;

/// A template that cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}:{line}: {message}")]
pub struct TemplateError {
    /// The template, as the user named it.
    pub name: String,
    /// Line in the template, 1-based.
    pub line: usize,
    /// What is wrong, and for an undefined name those that exist.
    pub message: String,
}

/// Renders a text with the members of the object `variables` as its names. Nothing is escaped, a final newline
/// stays, and a name that is not defined is an error.
///
/// ```
/// let variables = serde_json::json!({"node": {"hostname": "one"}});
/// let text = ceil_img::template::render("motd.j2", "I am {{ node.hostname }}.\n", &variables)?;
/// assert_eq!(text, "I am one.\n");
/// # Ok::<(), ceil_img::template::TemplateError>(())
/// ```
///
/// # Errors
/// [`TemplateError`] for bad syntax or an undefined name.
pub fn render(name: &str, source: &str, variables: &Value) -> Result<String, TemplateError> {
    render_with(name, source, variables, &Secrets::default()).map(|rendered| rendered.text)
}

/// Values of secrets by name, shared by all templates that may use them and wiped when the last one is done.
pub type Secrets = Arc<BTreeMap<String, Zeroizing<String>>>;

/// A rendered text, and whether a secret was looked up for it.
pub struct Rendered {
    /// The text.
    pub text: String,
    /// Whether it holds a secret.
    pub secret: bool,
}

impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rendered({} bytes)", self.text.len())
    }
}

/// As [`render`], with `secrets` as members of the name `secret`.
///
/// # Errors
/// As [`render`]; no message shows a secret.
pub fn render_with(
    name: &str,
    source: &str,
    variables: &Value,
    secrets: &Secrets,
) -> Result<Rendered, TemplateError> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_keep_trailing_newline(true);
    // Keeps the place of an error inside its line, in builds for release too.
    env.set_debug(true);
    let used = Arc::new(AtomicBool::new(false));
    let bag = minijinja::Value::from_object(Bag {
        secrets: Arc::clone(secrets),
        used: Arc::clone(&used),
    });
    let names = minijinja::Value::from_serialize(variables);
    // Variables that bring a `secret` of their own keep it.
    let all = if secrets.is_empty() {
        names
    } else {
        minijinja::context! { secret => bag, ..names }
    };
    let text = env
        .template_from_named_str(name, source)
        .and_then(|template| template.render(all))
        .map_err(|e| {
            let mut known = variables.clone();
            if let Some(known) = known.as_object_mut()
                && !secrets.is_empty()
            {
                let hidden = secrets.keys().map(|k| (k.clone(), Value::Null)).collect();
                known.insert("secret".to_owned(), Value::Object(hidden));
            }
            explain(name, source, &known, &e)
        })?;
    Ok(Rendered {
        text,
        secret: used.load(Ordering::Relaxed),
    })
}

/// Secrets that notice when one is looked up.
struct Bag {
    secrets: Secrets,
    used: Arc<AtomicBool>,
}

impl fmt::Debug for Bag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bag(…)")
    }
}

impl Object for Bag {
    fn get_value(self: &Arc<Self>, key: &minijinja::Value) -> Option<minijinja::Value> {
        let value = self.secrets.get(key.as_str()?)?;
        self.used.store(true, Ordering::Relaxed);
        Some(minijinja::Value::from(value.as_str()))
    }
}

fn explain(name: &str, source: &str, variables: &Value, error: &Error) -> TemplateError {
    let message = if error.kind() == ErrorKind::UndefinedError {
        let expression = error.range().and_then(|range| source.get(range));
        undefined(expression.unwrap_or("a name"), variables)
    } else {
        match error.detail() {
            Some(detail) => format!("{}: {detail}", error.kind()),
            None => error.kind().to_string(),
        }
    };
    TemplateError {
        name: name.to_owned(),
        line: error.line().unwrap_or(1),
        message,
    }
}

/// Words of the template language that may stand in front of a name.
const KEYWORDS: [&str; 12] = [
    "if", "elif", "else", "for", "in", "not", "and", "or", "is", "set", "true", "false",
];

/// Names the first name of the expression that is not there, the object that lacks it, and what that has.
fn undefined(expression: &str, variables: &Value) -> String {
    let mut quote = None;
    let unquoted: String = expression
        .chars()
        .map(|c| match (c, quote) {
            ('"' | '\'', None) => {
                quote = Some(c);
                ' '
            }
            (c, Some(q)) => {
                if c == q {
                    quote = None;
                }
                ' '
            }
            (c, None) => c,
        })
        .collect();
    let path = unquoted
        .split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.')))
        .find(|word| {
            word.starts_with(|c: char| c.is_alphabetic() || c == '_')
                && !KEYWORDS.contains(word)
                && lookup(word, variables).is_none()
        })
        .unwrap_or(expression);
    let mut object = variables;
    let mut owner: Vec<&str> = Vec::new();
    for part in path.split('.') {
        match object.get(part) {
            Some(inner @ Value::Object(_)) => {
                object = inner;
                owner.push(part);
            }
            _ => break,
        }
    }
    let names: Vec<String> = object
        .as_object()
        .map(|members| members.keys().map(|k| format!("`{k}`")).collect())
        .unwrap_or_default();
    let whose = if owner.is_empty() {
        "the names here are".to_owned()
    } else {
        format!("`{}` has", owner.join("."))
    };
    format!("`{path}` is not defined; {whose} {}", names.join(", "))
}

fn lookup<'v>(path: &str, variables: &'v Value) -> Option<&'v Value> {
    path.split('.')
        .try_fold(variables, |object, part| object.get(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn variables() -> Value {
        json!({"cluster": {"name": "ceil", "domain": null}, "node": {"name": "one", "hostname": "one-host"}, "nodes": [{"name": "one"}, {"name": "two"}], "epoch": 0})
    }

    #[test]
    fn renders_loops_and_keeps_the_end() {
        let text = "{% for n in nodes %}{{ n.name }};{% endfor %}{{ node.hostname }} <{{ epoch }}>\n";
        assert_eq!(
            render("t", text, &variables()).as_deref(),
            Ok("one;two;one-host <0>\n")
        );
    }

    #[test]
    fn undefined_names_say_where_and_what_there_is() {
        for (text, expected) in [
            (
                "\n{{ hostname }}",
                "t.j2:2: `hostname` is not defined; the names here are `cluster`, `node`, `nodes`, `epoch`",
            ),
            (
                "a\nb\n{{ node.hostnam }}",
                "t.j2:3: `node.hostnam` is not defined; `node` has `name`, `hostname`",
            ),
            (
                "{% if node.role == 'x' %}{% endif %}{{ node.role | upper }}",
                "t.j2:1: `node.role` is not defined; `node` has `name`, `hostname`",
            ),
        ] {
            let error = render("t.j2", text, &variables()).expect_err(text);
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn p25_secrets_are_noticed_and_never_told() {
        let secrets = Secrets::new(BTreeMap::from([(
            "token".to_owned(),
            Zeroizing::new("hush".to_owned()),
        )]));
        let with = |text: &str| render_with("t", text, &variables(), &secrets);
        let used = with("{{ secret.token }}").expect("used");
        assert_eq!((used.text.as_str(), used.secret), ("hush", true));
        assert!(!with("{{ node.name }}").expect("unused").secret);
        let error = with("{{ secret.toke }}").expect_err("unknown").to_string();
        assert_eq!(error, "t:1: `secret.toke` is not defined; `secret` has `token`");
        let error = with("{{ secret.token | nofilter }}")
            .expect_err("bad")
            .to_string();
        assert!(!error.contains("hush") && !format!("{used:?}").contains("hush"));
    }

    #[test]
    fn bad_syntax_names_its_line() {
        let error = render("t.j2", "a\n{% for x %}", &variables()).expect_err("bad");
        assert_eq!((error.line, error.name.as_str()), (2, "t.j2"));
        assert!(error.message.starts_with("syntax error: "), "{}", error.message);
    }
}
