//! Units of systemd, and the environment files that go with them. Units hold no input, so nothing can end up in them.

use super::{Cluster, FlavourError, Item, Proxy};

/// Orders a unit behind the network and, as far as there is a source of time, behind a clock that is right: a
/// certificate that is made in the wrong year is not valid in the right one (F079). Neither is required, so that a
/// cluster without an uplink starts as well (P58).
const ORDER: &str = "\
Wants=network-online.target time-sync.target
After=network-online.target time-sync.target
";

/// Limits of everything that starts containers.
const CONTAINERS: &str = "\
KillMode=process
Delegate=yes
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
";

/// Modules that pods' networks need; not an error where they are built into the kernel.
const MODULES: &str = "\
ExecStartPre=-/sbin/modprobe br_netfilter
ExecStartPre=-/sbin/modprobe overlay
";

/// `k3s.service` or `k3s-agent.service`.
///
/// A server says when it is ready; an agent is started when it runs, because older ones never say.
pub(super) fn k3s(server: bool) -> String {
    let (role, command, kind) = if server {
        ("server", "server", "notify")
    } else {
        ("agent", "agent", "exec")
    };
    let name = if server { "k3s" } else { "k3s-agent" };
    format!(
        "[Unit]\nDescription=Kubernetes {role} (k3s)\nDocumentation=https://k3s.io\n{ORDER}\n\
         [Service]\nType={kind}\nEnvironmentFile=-/etc/systemd/system/{name}.service.env\n{CONTAINERS}\
         Restart=always\nRestartSec=5s\nTimeoutStartSec=0\n{MODULES}\
         ExecStart=/usr/local/bin/k3s {command}\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    )
}

/// `containerd.service`.
pub(super) fn containerd() -> String {
    format!(
        "[Unit]\nDescription=Container runtime (containerd)\nDocumentation=https://containerd.io\n\
         After=network.target local-fs.target\n\n\
         [Service]\nType=notify\nEnvironmentFile=-/etc/systemd/system/containerd.service.env\n{CONTAINERS}\
         OOMScoreAdjust=-999\nRestart=always\nRestartSec=5s\n{MODULES}\
         ExecStart=/usr/local/bin/containerd\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    )
}

/// `kubelet.service`. kubeadm starts it once it has written its configuration.
pub(super) fn kubelet() -> String {
    format!(
        "[Unit]\nDescription=Kubernetes node agent (kubelet)\nDocumentation=https://kubernetes.io/docs/\n{ORDER}\
         After=containerd.service\nStartLimitIntervalSec=0\n\
         ConditionPathExists=/var/lib/kubelet/config.yaml\n\n\
         [Service]\nExecStart=/usr/local/bin/kubelet\nRestart=always\nRestartSec=10\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    )
}

/// `kubelet.service.d/10-kubeadm.conf`: where kubeadm leaves what the kubelet is to read.
///
/// Source: `kubernetes/release`, `cmd/krel/templates/latest`.
pub(super) const KUBELET_DROP_IN: &str = "\
# Files that kubeadm writes when the node joins.
[Service]
Environment=\"KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf\"
Environment=\"KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml\"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/local/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
";

/// `ceil-pod-routes.service`: the way to the pods of other nodes, and for pods the way out of the cluster.
pub(super) fn pod_routes(pods: &str) -> String {
    let rule =
        format!("POSTROUTING -s {pods} ! -d {pods} -m comment --comment \"pods to the world\" -j MASQUERADE");
    format!(
        "[Unit]\nDescription=Routes to the pods of other nodes\n\
         Wants=network-online.target\nAfter=network-online.target\nBefore=kubelet.service k3s.service k3s-agent.service\n\
         ConditionPathExists={}\n\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\n\
         ExecStart=/usr/bin/env ip -force -batch {}\n\
         ExecStart=/bin/sh -c 'iptables -w -t nat -C {rule} 2>/dev/null || iptables -w -t nat -A {rule}'\n\n\
         [Install]\nWantedBy=multi-user.target\n",
        super::POD_ROUTES,
        super::POD_ROUTES
    )
}

/// `<unit>.env` with the proxy (F086), or nothing. Tokens never go here.
pub(super) fn environment(unit: &str, cluster: &Cluster) -> Result<Option<Item>, FlavourError> {
    let Some(Proxy { url, except }) = &cluster.proxy else {
        return Ok(None);
    };
    let mut direct = vec!["127.0.0.0/8".to_owned(), "localhost".to_owned()];
    direct.extend([cluster.pods.clone(), cluster.services.clone()]);
    direct.extend([".svc".to_owned(), format!(".{}", cluster.dns_domain)]);
    direct.push(cluster.endpoint.host.clone());
    direct.extend(except.iter().cloned());
    let direct = direct.join(",");
    let mut text = String::new();
    for (name, value) in [("HTTP_PROXY", url), ("HTTPS_PROXY", url), ("NO_PROXY", &direct)] {
        // systemd.exec(5): in double quotes, a backslash keeps what would end or expand the value.
        if value.chars().any(char::is_control) {
            return Err(FlavourError::Text {
                text: value.escape_debug().to_string(),
                wanted: "an address or a list of them on one line",
            });
        }
        text.push_str(name);
        text.push_str("=\"");
        for c in value.chars() {
            if matches!(c, '"' | '\\' | '$' | '`') {
                text.push('\\');
            }
            text.push(c);
        }
        text.push_str("\"\n");
    }
    // The URL may hold a password.
    Ok(Some(Item::secret(
        &format!("/etc/systemd/system/{unit}.env"),
        &text,
    )))
}
