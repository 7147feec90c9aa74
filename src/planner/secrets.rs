//! Which secrets a cluster needs, and which of them a node may have.

use std::collections::BTreeMap;

use crate::secrets::{Kind, Secret};
use crate::spec::{ClusterSpec, Inputs};

use super::PlanError;
use super::view::{self, View};
use super::wireguard::{TUNNEL, client_key, clients, has_tunnel};

/// Names and kinds of all secrets that the plans of these nodes need, sorted by name.
///
/// # Errors
/// As [`super::plan_node`].
pub fn needed(cluster: &ClusterSpec, inputs: &Inputs) -> Result<BTreeMap<String, Kind>, PlanError> {
    let mut needed = BTreeMap::new();
    for view in view::all(cluster, inputs)? {
        let settings = &view.resolved.settings;
        if settings.ssh.host_key == Some(true) {
            needed.insert(host_key(&view), Kind::SshHostKey);
        }
        for user in settings.users.values() {
            if let Some(name) = &user.password {
                needed.insert(name.value.clone(), Kind::Password);
            }
        }
        for (name, _) in view.ports.iter().filter_map(|p| p.wifi.as_ref()) {
            if let Some(wifi) = cluster.wifi.get(name).filter(|w| !w.open) {
                needed.insert(psk_name(name, wifi), Kind::Given);
            }
        }
        for client in clients(&view)? {
            needed.insert(client_key(&client), Kind::WireGuard);
        }
        if has_tunnel(&view) {
            needed.insert(TUNNEL.to_owned(), Kind::WireGuard);
        }
        for (name, kind) in super::kubernetes::secrets(cluster, &view) {
            needed.insert(own_name(cluster, &view, name), kind);
        }
        for (name, kind) in &settings.secrets {
            needed.insert(own_name(cluster, &view, name), kind.value.into());
        }
    }
    Ok(needed)
}

/// Name of a node's host key.
pub(super) fn host_key(view: &View<'_>) -> String {
    format!("ssh.{}", view.spec.name)
}

/// Name of a WiFi passphrase.
pub(super) fn psk_name(name: &str, wifi: &crate::spec::WifiSpec) -> String {
    wifi.psk
        .as_ref()
        .map_or_else(|| format!("wifi-{name}"), |p| p.value.clone())
}

/// A secret of the cluster that the node belongs to: clusters of one file do not share.
pub(super) fn own_name(cluster: &ClusterSpec, view: &View<'_>, name: &str) -> String {
    if view.cluster == cluster.name.as_str() {
        name.to_owned()
    } else {
        format!("{}.{name}", view.cluster)
    }
}

/// What templates of a node see as `secret`: its own secrets, `_` for `-` and `.` in their names.
pub(super) fn of_node(cluster: &ClusterSpec, inputs: &Inputs, view: &View<'_>) -> BTreeMap<String, Secret> {
    let mut bag = BTreeMap::new();
    if has_tunnel(view)
        && let Some(key) = inputs.secrets.get(TUNNEL)
    {
        bag.insert("wireguard_router".to_owned(), key.clone());
    }
    for name in view.resolved.settings.secrets.keys() {
        if let Some(value) = inputs.secrets.get(&own_name(cluster, view, name)) {
            bag.insert(name.replace(['-', '.'], "_"), value.clone());
        }
    }
    bag
}
