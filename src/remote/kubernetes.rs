//! What the first server of a cluster is asked for: its kubeconfig, and tokens.

use std::net::IpAddr;

/// The service account that the web UI's add-on makes for people, and its namespace: it may look at everything but
/// secrets (`profiles/addons/headlamp.yaml.j2`).
pub const WEB_UI: (&str, &str) = ("headlamp", "headlamp-viewer");
/// The administrator's kubeconfig on a server of k3s.
pub const K3S_CONFIG: &str = "/etc/rancher/k3s/k3s.yaml";
/// The same on one of kubeadm.
pub const ADMIN_CONFIG: &str = "/etc/kubernetes/admin.conf";

/// Whose kubectl a server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kubectl {
    /// That inside k3s.
    K3s,
    /// A program of its own, with the administrator's kubeconfig.
    Own,
}

impl Kubectl {
    /// Where the administrator's kubeconfig is.
    #[must_use]
    pub const fn config(self) -> &'static str {
        match self {
            Self::K3s => K3S_CONFIG,
            Self::Own => ADMIN_CONFIG,
        }
    }
}

/// The command that makes a short-lived token for a service account, on a server.
#[must_use]
pub fn token_command(kubectl: Kubectl, namespace: &str, account: &str, duration: &str) -> Vec<String> {
    let program: &[&str] = match kubectl {
        Kubectl::K3s => &["/usr/local/bin/k3s", "kubectl"],
        Kubectl::Own => &["/usr/local/bin/kubectl", "--kubeconfig", ADMIN_CONFIG],
    };
    let words = [
        "create",
        "token",
        account,
        "--namespace",
        namespace,
        "--duration",
        duration,
    ];
    ["sudo", "-n"]
        .iter()
        .chain(program)
        .chain(&words)
        .map(|word| (*word).to_owned())
        .collect()
}

/// A text that is no kubeconfig.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has no line `server: https://…`, so it is no kubeconfig")]
pub struct NoKubeconfig;

/// A server's own kubeconfig for use from elsewhere: the server by its address in the LAN instead of the loopback; the
/// port stays.
///
/// # Errors
/// [`NoKubeconfig`].
pub fn with_server(text: &str, ip: IpAddr) -> Result<String, NoKubeconfig> {
    let host = match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let mut replaced = false;
    let mut lines = String::with_capacity(text.len());
    for line in text.lines() {
        match line.split_once("server: https://") {
            Some((before, url)) if before.trim_start_matches([' ', '-']).is_empty() => {
                let port = url.trim().rsplit(':').next().and_then(|p| p.parse::<u16>().ok());
                lines.push_str(&format!(
                    "{before}server: https://{host}:{}\n",
                    port.unwrap_or(443)
                ));
                replaced = true;
            }
            _ => {
                lines.push_str(line);
                lines.push('\n');
            }
        }
    }
    if replaced { Ok(lines) } else { Err(NoKubeconfig) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f118_the_server_gets_its_address() {
        let text = "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: AAAA\n    \
                    server: https://127.0.0.1:6443\n  name: default\n";
        let v4 = with_server(text, "10.11.0.101".parse().unwrap()).unwrap();
        assert_eq!(v4, text.replace("127.0.0.1", "10.11.0.101"));
        let v6 = with_server(text, "fd00::5".parse().unwrap()).unwrap();
        assert_eq!(v6, text.replace("127.0.0.1", "[fd00::5]"));
        let bare = with_server("- server: https://localhost\n", "10.0.0.1".parse().unwrap()).unwrap();
        assert_eq!(bare, "- server: https://10.0.0.1:443\n");
        for text in [
            "",
            "cat: /etc/rancher/k3s/k3s.yaml: No such file\n",
            "# server: https://a:1\n",
        ] {
            assert!(with_server(text, "10.0.0.1".parse().unwrap()).is_err(), "{text}");
        }
    }

    /// F197: the account is the one that the add-on makes.
    #[test]
    fn f197_the_account_of_the_web_ui() {
        let (namespace, account) = WEB_UI;
        let addon = include_str!("../../profiles/addons/headlamp.yaml.j2");
        let made = format!("kind: ServiceAccount\nmetadata:\n  name: {account}\n  namespace: {namespace}\n");
        assert!(addon.contains(&made));
        assert_eq!(
            token_command(Kubectl::K3s, namespace, account, "1h").join(" "),
            "sudo -n /usr/local/bin/k3s kubectl create token headlamp-viewer --namespace headlamp --duration 1h"
        );
        assert!(
            token_command(Kubectl::Own, namespace, account, "1h")
                .join(" ")
                .starts_with(
                    "sudo -n /usr/local/bin/kubectl --kubeconfig /etc/kubernetes/admin.conf create token "
                )
        );
    }
}
