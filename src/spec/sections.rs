//! Sections of the cluster file that are read by their types.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::At;
use crate::secrets::Kind;

/// `kubernetes:`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KubernetesSpec {
    /// How Kubernetes is installed.
    pub distribution: At<Distribution>,
    /// Its version, such as `v1.36.4+k3s1` or `1.36.4`; the newest that is known by default.
    pub version: Option<At<String>>,
    /// Network of pods: `flannel` (the default), `bridge` (routes between nodes of one LAN with fixed addresses; needs no
    /// image), `weave` or `none`.
    pub cni: Option<At<String>>,
    /// Name or address of the API; the first server by default.
    pub endpoint: Option<At<String>>,
    /// Parts that are left out: of k3s such as `traefik`, of kubeadm `kube-proxy` and `coredns`.
    #[serde(default)]
    pub disable: Vec<String>,
    /// How long a bootstrap token of kubeadm is good for, such as `8760h`; `0s` for ever.
    pub token_ttl: Option<At<String>>,
    /// Whether container images of the distribution are put on the cards (no uplink is needed then); yes by default.
    pub air_gap: Option<bool>,
    /// Whether programs of the distribution are put on the cards; yes by default, `false` where the base has them.
    pub programs: Option<bool>,
    /// Checks of kubeadm that may fail, by name, such as `NumCPU`; there is no `all` (P26).
    #[serde(default)]
    pub ignore_preflight: Vec<At<String>>,
    /// Laid over what is made here, key by key: kubeadm's ClusterConfiguration, or `config.yaml` of k3s servers.
    #[serde(default)]
    pub config: Option<BTreeMap<String, serde_json::Value>>,
}

/// How Kubernetes is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// k3s.
    K3s,
    /// kubeadm with containerd.
    Kubeadm,
    /// None: plain systems.
    None,
}

impl Distribution {
    /// The word of the cluster file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::K3s => "k3s",
            Self::Kubeadm => "kubeadm",
            Self::None => "none",
        }
    }
}

/// `registries:`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RegistriesSpec {
    /// Mirror of public registries, such as `http://router.ceil.home.arpa:5000`.
    pub mirror: Option<At<String>>,
    /// Private registry, such as `router.ceil.home.arpa:5001`.
    pub private: Option<At<String>>,
}

/// A WiFi network.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WifiSpec {
    /// Its name.
    pub ssid: String,
    /// Name of the secret that is its passphrase; `wifi-NAME` by default.
    pub psk: Option<At<String>>,
    /// Two capital letters of the country whose rules for radio hold, such as `DE`.
    pub country: Option<At<String>>,
    /// Whether it hides its name.
    #[serde(default)]
    pub hidden: bool,
    /// Whether it needs no passphrase.
    #[serde(default)]
    pub open: bool,
}

/// Kind of a secret: how it is made when it is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretKind {
    /// 128 bits as hexadecimal digits.
    Token,
    /// 24 letters and digits.
    Password,
    /// A key of WireGuard.
    Wireguard,
    /// What only the user knows; it is never made up.
    Given,
}

impl From<SecretKind> for Kind {
    fn from(kind: SecretKind) -> Self {
        match kind {
            SecretKind::Token => Self::Token,
            SecretKind::Password => Self::Password,
            SecretKind::Wireguard => Self::WireGuard,
            SecretKind::Given => Self::Given,
        }
    }
}
