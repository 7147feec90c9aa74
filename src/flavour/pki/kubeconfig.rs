use base64::Engine as _;
use serde_json::json;

use crate::flavour::{Flavour, KubernetesVersion, to_yaml};
use crate::secrets::{KeyPair, Secret};

/// The group that the administrator's certificate says.
///
/// `system:masters` is above every rule and cannot be taken away while the authority lives, and certificates made
/// here hold for a hundred years. From 1.29 on, kubeadm binds the group `kubeadm:cluster-admins` to the role
/// `cluster-admin` while it sets the first server up, before it makes any add-on; a lost kubeconfig is then made
/// useless by removing that binding. Older kubeadm and every k3s know `system:masters` only.
/// Source: kubeadm, `EnsureAdminClusterRoleBinding`; k3s, `pkg/daemons/control/deps`.
#[must_use]
pub const fn admin_group(flavour: Flavour, version: &KubernetesVersion) -> &'static str {
    match flavour {
        Flavour::Kubeadm if version.at_least(29) => "kubeadm:cluster-admins",
        _ => "system:masters",
    }
}

/// A kubeconfig with everything in it, as `kubectl` reads it.
pub(super) fn write(cluster: &str, url: &str, bundle: &str, certificate: &str, key: &KeyPair) -> Secret {
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let user = format!("ceil-admin@{cluster}");
    Secret::new(to_yaml(&json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": cluster,
            "cluster": {"server": url, "certificate-authority-data": base64(bundle)},
        }],
        "users": [{
            "name": user,
            "user": {
                "client-certificate-data": base64(certificate),
                "client-key-data": base64(key.to_sec1_pem().reveal()),
            },
        }],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
        "current-context": cluster,
    })))
}
