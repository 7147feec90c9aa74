//! Settings of the kubelet, in the two ways that it takes them: flags, and a configuration file.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{FlavourError, KubernetesVersion};

/// What the kubelet makes of swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SwapUse {
    /// There is none, and the kubelet does not start where there is.
    #[default]
    None,
    /// There may be some, and pods get none of it.
    NotForPods,
    /// Pods get a part that follows from the memory they ask for (F071).
    Limited,
}

/// Settings of one kubelet. What is empty stays at the kubelet's own default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kubelet {
    /// Swap.
    pub swap: SwapUse,
    /// Kept for the system: `memory: 100Mi`, `cpu: 100m` (F127).
    pub system_reserved: BTreeMap<String, String>,
    /// Kept for the parts of Kubernetes itself.
    pub kube_reserved: BTreeMap<String, String>,
    /// When pods are evicted at once: `memory.available: 100Mi`, `nodefs.available: 5%` (F127).
    pub eviction_hard: BTreeMap<String, String>,
    /// Whether the kubelet may run on cgroup v1 (G5); only for 1.31 and later, which ask.
    pub allow_cgroup_v1: bool,
    /// More flags by name, without dashes.
    pub flags: BTreeMap<String, String>,
}

impl Kubelet {
    /// Reservations and thresholds that keep a board of 1 GiB answering while a pod eats its memory (F127, P43).
    #[must_use]
    pub fn small_board() -> Self {
        let map = |pairs: &[(&str, &str)]| {
            let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
            pairs.iter().map(owned).collect()
        };
        Self {
            system_reserved: map(&[("memory", "128Mi")]),
            eviction_hard: map(&[("memory.available", "64Mi"), ("nodefs.available", "5%")]),
            ..Self::default()
        }
    }

    /// Keys and values that a flag can hold: commas and blanks would end them early.
    pub(super) fn check(&self) -> Result<(), FlavourError> {
        let name = |t: &str| {
            !t.is_empty()
                && t.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
        };
        let amount =
            |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b".%".contains(&b));
        let resources = [&self.system_reserved, &self.kube_reserved, &self.eviction_hard];
        for (key, value) in resources.into_iter().flatten() {
            if !name(key) || !amount(value) {
                return Err(FlavourError::Text {
                    text: format!("{key}: {value}"),
                    wanted: "an amount of a resource, such as `memory: 100Mi` or `nodefs.available: 5%`",
                });
            }
        }
        for (flag, value) in &self.flags {
            if !name(flag) || flag.starts_with('-') || value.chars().any(char::is_control) {
                return Err(FlavourError::Text {
                    text: format!("{flag}: {value}"),
                    wanted: "a flag of the kubelet; write its name without dashes and a value of one line",
                });
            }
        }
        Ok(())
    }

    /// As flags, `name` to `value`, for every version. What has no flag is in [`Kubelet::configuration`] alone.
    pub(super) fn to_flags(&self, version: &KubernetesVersion) -> BTreeMap<String, String> {
        let mut flags = BTreeMap::new();
        let pairs = |map: &BTreeMap<String, String>, sign: &str| {
            let words: Vec<String> = map.iter().map(|(k, v)| format!("{k}{sign}{v}")).collect();
            words.join(",")
        };
        for (flag, map, sign) in [
            ("system-reserved", &self.system_reserved, "="),
            ("kube-reserved", &self.kube_reserved, "="),
            ("eviction-hard", &self.eviction_hard, "<"),
        ] {
            if !map.is_empty() {
                flags.insert(flag.to_owned(), pairs(map, sign));
            }
        }
        if self.swap != SwapUse::None {
            flags.insert("fail-swap-on".to_owned(), "false".to_owned());
        }
        if self.allow_cgroup_v1 && version.at_least(31) {
            flags.insert("fail-cgroupv1".to_owned(), "false".to_owned());
        }
        flags.extend(self.flags.clone());
        flags
    }

    /// As a part of a KubeletConfiguration, without those of [`Kubelet::flags`].
    pub(super) fn configuration(&self, version: &KubernetesVersion) -> Map<String, Value> {
        let mut map = Map::new();
        for (key, values) in [
            ("systemReserved", &self.system_reserved),
            ("kubeReserved", &self.kube_reserved),
            ("evictionHard", &self.eviction_hard),
        ] {
            if !values.is_empty() {
                map.insert(key.to_owned(), json!(values));
            }
        }
        if self.swap != SwapUse::None {
            map.insert("failSwapOn".to_owned(), json!(false));
        }
        map.extend(self.swap_behaviour(version));
        if self.allow_cgroup_v1 && version.at_least(31) {
            map.insert("failCgroupV1".to_owned(), json!(false));
        }
        map
    }

    /// What pods get of swap. There is no flag for it.
    ///
    /// Source: KubeletConfiguration v1beta1; the gate `NodeSwap` is off by default until 1.30, and `NoSwap` has a name
    /// from then on.
    pub(super) fn swap_behaviour(&self, version: &KubernetesVersion) -> Map<String, Value> {
        let mut map = Map::new();
        let behaviour = match self.swap {
            SwapUse::Limited if version.at_least(22) => "LimitedSwap",
            SwapUse::NotForPods if version.at_least(30) => "NoSwap",
            _ => return map,
        };
        map.insert("memorySwap".to_owned(), json!({"swapBehavior": behaviour}));
        if !version.at_least(30) {
            map.insert("featureGates".to_owned(), json!({"NodeSwap": true}));
        }
        map
    }
}
