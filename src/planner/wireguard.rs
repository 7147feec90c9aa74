//! The tunnel of VPN clients: its keys, and the file that each client gets (F150, F151).

use serde_json::{Value, json};

use crate::plan::Origin;
use crate::secrets::{Secret, WireGuardKey};
use crate::spec::{ClusterSpec, Inputs, TreeKind};
use crate::template;
use crate::values::Timestamp;

use super::view::{self, View};
use super::{PlanError, variables};

/// Name of the router's key for its tunnel.
pub(super) const TUNNEL: &str = "wireguard.router";

/// The overlay with the template of a client's file.
pub const CLIENT_OVERLAY: &str = "wireguard-client";

/// Longest name of an interface in Linux, which wg-quick takes from the name of the file.
const LONGEST_NAME: usize = 15;

/// Name of the key of a client.
pub(super) fn client_key(client: &str) -> String {
    format!("wireguard.{client}")
}

/// Whether the node ends the tunnels of VPN clients.
pub(super) fn has_tunnel(view: &View<'_>) -> bool {
    view.resolved
        .settings
        .overlays
        .iter()
        .any(|o| o.value == "wireguard")
}

/// Names of VPN clients, as `services: {wireguard: {clients: [...]}}` has them.
///
/// # Errors
/// One is no name for a file of wg-quick.
pub(super) fn clients(view: &View<'_>) -> Result<Vec<String>, PlanError> {
    let service = view.resolved.settings.services.get("wireguard");
    let list = service
        .and_then(|s| s.value.get("clients"))
        .and_then(|c| c.as_array());
    list.into_iter()
        .flatten()
        .map(|name| {
            let text = name.as_str().unwrap_or_default();
            let usual = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
            if text.is_empty() || text.len() > LONGEST_NAME || !text.bytes().all(usual) || text.starts_with('.') {
                return Err(PlanError::unsupported(
                    &view.spec.origin,
                    format!(
                        "`{}` is not a name of a VPN client; wg-quick wants 1 to {LONGEST_NAME} letters, digits or `_.-`",
                        name.as_str().map_or_else(|| name.to_string(), str::to_owned)
                    ),
                ));
            }
            Ok(text.to_owned())
        })
        .collect()
}

fn key(inputs: &Inputs, name: &str, origin: &Origin) -> Result<WireGuardKey, PlanError> {
    let secret = inputs
        .secrets
        .get(name)
        .ok_or_else(|| PlanError::not_read(origin, format!("secret {name}")))?;
    WireGuardKey::from_base64(name, secret).map_err(|e| PlanError::unsupported(origin, e))
}

/// What templates see as `wireguard`: public keys and addresses of both ends. Null where there is no tunnel.
pub(super) fn tunnel(cluster: &ClusterSpec, inputs: &Inputs, views: &[View<'_>]) -> Result<Value, PlanError> {
    let Some(router) = views.iter().find(|v| has_tunnel(v)) else {
        return Ok(Value::Null);
    };
    let origin = &router.spec.origin;
    let vpn = cluster.network.vpn.as_ref().map(|n| n.value);
    let mut out = Vec::new();
    for (n, name) in (2..).zip(clients(router)?) {
        let address = vpn.and_then(|net| net.nth(n)).ok_or_else(|| {
            PlanError::unsupported(
                origin,
                format!("there is no address for the VPN client `{name}`; give `network: {{vpn: …}}` with room for all"),
            )
        })?;
        let public = key(inputs, &client_key(&name), origin)?.public();
        out.push(json!({"name": name, "public": public, "address": address}));
    }
    Ok(json!({"server_public": key(inputs, TUNNEL, origin)?.public(), "clients": out}))
}

/// The file of each VPN client, by its name: for wg-quick as `NAME.conf`, and for apps that read such files. They have
/// the clients' private keys. Empty where there is no tunnel.
///
/// # Errors
/// [`PlanError`]: nothing says where clients find the router, a key or the template was not read.
pub fn client_files(
    cluster: &ClusterSpec,
    inputs: &Inputs,
    epoch: Timestamp,
) -> Result<Vec<(String, Secret)>, PlanError> {
    let views = view::all(cluster, inputs)?;
    let Some(router) = views.iter().find(|v| has_tunnel(v)) else {
        return Ok(Vec::new());
    };
    let origin = &router.spec.origin;
    let names = clients(router)?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let service = router.resolved.settings.services.get("wireguard");
    let endpoint = service.and_then(|s| s.value.get("endpoint"));
    if endpoint.and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err(PlanError::unsupported(
            origin,
            format!(
                "nothing says where VPN clients find `{}`; give `services: {{wireguard: {{endpoint: vpn.example.org}}}}` with its public name or address",
                router.spec.name
            ),
        ));
    }
    let template = inputs
        .overlays
        .get(CLIENT_OVERLAY)
        .and_then(|tree| {
            tree.entries.iter().find_map(|entry| match &entry.kind {
                TreeKind::Template { source, .. } if entry.path == "CLIENT.conf" => Some(source),
                _ => None,
            })
        })
        .ok_or_else(|| {
            PlanError::not_read(origin, format!("CLIENT.conf.j2 of the overlay {CLIENT_OVERLAY}"))
        })?;
    let mut variables = variables::of(cluster, &views, router, epoch);
    variables["router"] = variables["node"].clone();
    variables["wireguard"] = tunnel(cluster, inputs, &views)?;
    let known = variables["wireguard"]["clients"].clone();
    names
        .into_iter()
        .enumerate()
        .map(|(n, name)| {
            let mut variables = variables.clone();
            variables["client"] = known[n].clone();
            let private = key(inputs, &client_key(&name), origin)?.to_base64();
            variables["client"]["private"] = json!(private.reveal());
            let text = template::render(&template.file, &template.text, &variables)
                .map_err(|source| PlanError::template(origin, source))?;
            Ok((name, Secret::new(text)))
        })
        .collect()
}
