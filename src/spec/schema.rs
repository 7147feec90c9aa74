//! JSON Schema of the cluster file and of profiles, made from the types, for editors that complete and check.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::Settings;
use super::sections::{KubernetesSpec, RegistriesSpec, WifiSpec};
use crate::values::{Hostname, Network4, Range4};

pub(super) fn base(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Base image: a name of `ceil-img images`, an address, a path, or one of them with checksums.",
        "oneOf": [
            {"type": "string"},
            {"type": "object", "additionalProperties": false, "properties": {
                "name": {"type": "string"}, "url": {"type": "string"}, "path": {"type": "string"},
                "sha256": {"type": "string", "pattern": "^(sha256:)?[0-9a-fA-F]{64}$"},
                "sha512": {"type": "string", "pattern": "^(sha512:)?[0-9a-fA-F]{128}$"},
                "raw_sha256": {"type": "string", "pattern": "^(sha256:)?[0-9a-fA-F]{64}$"},
                "checksum_url": {"type": "string"}
            }}
        ]
    })
}

pub(super) fn kernel_args(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Words of the kernel command line.", "type": "object", "additionalProperties": false,
        "properties": {"add": {"$ref": "#/definitions/words"}, "remove": {"$ref": "#/definitions/words"}}
    })
}

pub(super) fn list(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": {"type": "object"}})
}

pub(super) fn output(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "additionalProperties": false, "properties": {
        "format": {"enum": ["img", "img.xz", "img.zst", "img.gz", "none"]}}})
}

/// The cluster file, as the schema has it; [`super::parse_cluster`] reads it.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[allow(dead_code, reason = "describes the file; the reader keeps what it needs")]
struct ClusterFile {
    /// Name and domain.
    cluster: ClusterHead,
    /// The address plan.
    #[schemars(default)]
    network: Option<NetworkFile>,
    /// Kubernetes.
    kubernetes: Option<KubernetesSpec>,
    /// Registries of container images in the cluster.
    registries: Option<RegistriesSpec>,
    /// WiFi networks by name.
    wifi: Option<BTreeMap<String, WifiSpec>>,
    /// Folders with profiles, searched in this order, then the built-in ones.
    profiles: Option<Vec<String>>,
    /// The time that new files get, such as `2025-01-01`.
    epoch: Option<String>,
    /// Settings of every node, below those of its profile.
    defaults: Option<Settings>,
    /// The nodes.
    nodes: Vec<NodeFile>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[allow(dead_code, reason = "describes the file")]
struct ClusterHead {
    /// Lower-case letters, digits and hyphens.
    name: Hostname,
    /// Such as `ceil.home.arpa`.
    domain: Option<Hostname>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[allow(dead_code, reason = "describes the file")]
struct NetworkFile {
    /// Default gateway.
    gateway: Option<String>,
    /// Name servers.
    dns: Option<Vec<String>>,
    /// The nodes' own network.
    lan: Option<Network4>,
    /// Addresses that the router gives to anybody.
    dhcp_pool: Option<Range4>,
    /// Addresses for services of type LoadBalancer.
    load_balancer_pool: Option<Range4>,
    /// Addresses of pods.
    pods: Option<Network4>,
    /// Addresses of services.
    services: Option<Network4>,
    /// Addresses of VPN clients.
    vpn: Option<Network4>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[allow(dead_code, reason = "describes the file")]
struct NodeFile {
    /// Name of the node and of its image.
    name: String,
    /// Host name, the name by default.
    hostname: Option<String>,
    /// The profile that it is made from.
    profile: String,
    /// `dhcp`, or an address such as `10.11.0.101/24`.
    #[schemars(default, schema_with = "address")]
    address: Option<String>,
    /// Makes one node for each combination, such as `{crew: 01..05, node: 001..003}`; `{{ crew }}` is replaced.
    matrix: Option<BTreeMap<String, serde_json::Value>>,
    /// Makes this many nodes; `{{ n }}` is replaced by 1, 2, …
    count: Option<u32>,
    #[schemars(flatten)]
    settings: Settings,
}

fn address(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"oneOf": [{"type": "string"}, {"type": "object", "additionalProperties": false, "properties": {
        "cidr": {"type": "string"}, "gateway": {"type": "string"}, "interface": {"type": "string"},
        "dns": {"type": "array", "items": {"type": "string"}}}}]})
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[allow(dead_code, reason = "describes the file")]
struct ProfileFile {
    /// The profile below this one.
    extends: Option<String>,
    /// Profiles laid over that, in this order.
    mixins: Option<Vec<String>>,
    #[schemars(flatten)]
    settings: Settings,
}

fn generate<T: JsonSchema>(title: &str) -> String {
    let mut schema = SchemaSettings::draft07()
        .into_generator()
        .into_root_schema_for::<T>();
    schema.insert("title".to_owned(), title.into());
    let words = serde_json::json!({"type": "array", "items": {"type": "string"}});
    if let Some(definitions) = schema
        .ensure_object()
        .entry("definitions")
        .or_insert_with(|| serde_json::json!({}))
        .as_object_mut()
    {
        definitions.insert("words".to_owned(), words);
    }
    let mut value = schema.to_value();
    allow_replace(&mut value);
    let mut text = serde_json::to_string_pretty(&value).unwrap_or_default();
    text.push('\n');
    text
}

/// Wherever a list may stand, `{replace: [...]}` may, too.
fn allow_replace(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            map.values_mut().for_each(allow_replace);
            let is_list = match map.get("type") {
                Some(serde_json::Value::String(kind)) => kind == "array",
                Some(serde_json::Value::Array(kinds)) => kinds.iter().any(|k| k == "array"),
                _ => false,
            };
            if is_list && map.contains_key("items") {
                let mut list = serde_json::Map::new();
                for key in ["type", "items"] {
                    if let Some(part) = map.remove(key) {
                        list.insert(key.to_owned(), part);
                    }
                }
                let list = serde_json::Value::Object(list);
                map.insert(
                    "anyOf".to_owned(),
                    serde_json::json!([list, {"type": "object", "additionalProperties": false,
                        "required": ["replace"], "properties": {"replace": {"type": "array"}}}]),
                );
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(allow_replace),
        _ => {}
    }
}

/// JSON Schema (draft 7) of the cluster file.
#[must_use]
pub fn cluster_schema() -> String {
    generate::<ClusterFile>("ceil-img cluster file")
}

/// JSON Schema (draft 7) of profiles.
#[must_use]
pub fn profile_schema() -> String {
    generate::<ProfileFile>("ceil-img profile")
}
