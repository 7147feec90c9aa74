//! cloud-init's JSON Schemas, and their errors as findings.

use std::sync::OnceLock;

use jsonschema::Validator;
use jsonschema::error::{ValidationError, ValidationErrorKind};
use serde_json::{Map, Value as Json};

use crate::spec::yaml::{Kind, Value, is_bool, is_number};

use super::Finding;

/// How deep the alternatives of a schema are followed for the reason of a refusal.
const MAX_DEPTH: usize = 6;

/// cloud-config, JSON Schema draft 4.
pub(super) fn cloud_config() -> Option<&'static Validator> {
    static VALIDATOR: OnceLock<Option<Validator>> = OnceLock::new();
    compiled(
        &VALIDATOR,
        include_str!("../../cloud-init/schema/schema-cloud-config-v1.json"),
        jsonschema::draft4::new,
    )
}

/// network-config version 1, JSON Schema draft 7.
pub(super) fn network_v1() -> Option<&'static Validator> {
    static VALIDATOR: OnceLock<Option<Validator>> = OnceLock::new();
    compiled(
        &VALIDATOR,
        include_str!("../../cloud-init/schema/schema-network-config-v1.json"),
        jsonschema::draft7::new,
    )
}

/// network-config version 2, JSON Schema draft 7.
pub(super) fn network_v2() -> Option<&'static Validator> {
    static VALIDATOR: OnceLock<Option<Validator>> = OnceLock::new();
    compiled(
        &VALIDATOR,
        include_str!("../../cloud-init/schema/schema-network-config-v2.json"),
        jsonschema::draft7::new,
    )
}

/// A schema is part of the program: that each one compiles is tested.
fn compiled(
    cell: &'static OnceLock<Option<Validator>>,
    text: &str,
    build: impl FnOnce(&Json) -> Result<Validator, ValidationError<'static>>,
) -> Option<&'static Validator> {
    cell.get_or_init(|| {
        let schema: Json = serde_json::from_str(text).ok()?;
        build(&schema).ok()
    })
    .as_ref()
}

/// What a schema has against a value.
pub(super) fn check(validator: Option<&Validator>, json: &Json, yaml: &Value) -> Vec<Finding> {
    let Some(validator) = validator else {
        return vec![Finding::new(
            None,
            "",
            "the schema of cloud-init could not be read",
        )];
    };
    let mut findings = Vec::new();
    for error in validator.iter_errors(json) {
        tell(&error, yaml, &mut findings, 0);
    }
    findings
}

fn tell(error: &ValidationError<'_>, yaml: &Value, findings: &mut Vec<Finding>, depth: usize) {
    let path = error.instance_path().as_str();
    match error.kind() {
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context }
            if depth < MAX_DEPTH =>
        {
            // The alternative that was meant is the one that takes the kind of value there is, and complains least.
            let meant = context
                .iter()
                .filter(|errors| !errors.iter().any(|e| is_other_kind(e, path)))
                .min_by_key(|errors| errors.len());
            match meant {
                Some(errors) => errors.iter().for_each(|e| tell(e, yaml, findings, depth + 1)),
                None => findings.push(at(yaml, path, None, "no value of this kind is known here")),
            }
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            for key in unexpected {
                findings.push(at(yaml, path, Some(key), "cloud-init knows no such key here"));
            }
        }
        _ => findings.push(at(yaml, path, None, &error.masked_with("the value").to_string())),
    }
}

fn is_other_kind(error: &ValidationError<'_>, path: &str) -> bool {
    matches!(error.kind(), ValidationErrorKind::Type { .. }) && error.instance_path().as_str() == path
}

/// A finding at a JSON Pointer, with the line of the YAML.
fn at(yaml: &Value, pointer: &str, key: Option<&str>, message: &str) -> Finding {
    let (mut value, mut line) = (yaml, yaml.mark.line);
    let mut shown = String::new();
    let steps = pointer
        .split('/')
        .skip(1)
        .map(|s| s.replace("~1", "/").replace("~0", "~"));
    for step in steps.chain(key.map(str::to_owned)) {
        match &value.kind {
            Kind::List(items) => {
                shown.push_str(&format!("[{step}]"));
                let Some(item) = step.parse().ok().and_then(|i: usize| items.get(i)) else {
                    break;
                };
                (value, line) = (item, item.mark.line);
            }
            Kind::Map(entries) => {
                if !shown.is_empty() {
                    shown.push('.');
                }
                shown.push_str(&step);
                let Some((key, inner)) = entries.iter().find(|(key, _)| key.text == step) else {
                    break;
                };
                (value, line) = (inner, key.mark.line);
            }
            Kind::Scalar { .. } => break,
        }
    }
    Finding::new(Some(line), &shown, message)
}

/// The value as PyYAML, which cloud-init reads with, makes it: YAML 1.1.
pub(super) fn json(value: &Value) -> Json {
    match &value.kind {
        _ if value.is_null() => Json::Null,
        Kind::Scalar { text, plain } => scalar(text, *plain),
        Kind::List(items) => Json::Array(items.iter().map(json).collect()),
        Kind::Map(entries) => {
            let members: Map<String, Json> = entries
                .iter()
                .map(|(key, value)| (key.text.clone(), json(value)))
                .collect();
            Json::Object(members)
        }
    }
}

fn scalar(text: &str, plain: bool) -> Json {
    if !plain {
        return Json::String(text.to_owned());
    }
    let word = text.to_ascii_lowercase();
    if is_bool(text) || matches!(word.as_str(), "yes" | "no" | "on" | "off") {
        return Json::Bool(matches!(word.as_str(), "true" | "yes" | "on"));
    }
    let octal = |digits: &str| i64::from_str_radix(digits, 8).ok();
    let number = match text.strip_prefix('0') {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| (b'0'..=b'7').contains(&b)) => {
            octal(digits)
        }
        _ => text.replace('_', "").parse().ok(),
    };
    if let Some(number) =
        number.filter(|_| text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+'))
    {
        return Json::Number(number.into());
    }
    match text.parse().ok().and_then(serde_json::Number::from_f64) {
        Some(number) if is_number(text) => Json::Number(number),
        _ => Json::String(text.to_owned()),
    }
}
