//! Configuration of containerd, which is TOML, and of crictl.

use std::fmt::Write as _;

use serde_json::json;

use super::{CNI_BIN_DIR, Options};
use crate::flavour::{Cluster, FlavourError, Item, to_yaml};

const HOSTS_DIR: &str = "/etc/containerd/certs.d";
const SOCKET: &str = "unix:///run/containerd/containerd.sock";

/// `config.toml`, registries, and `crictl.yaml`.
pub(super) fn items(cluster: &Cluster, options: &Options) -> Result<Vec<Item>, FlavourError> {
    let mut items = vec![
        Item::dir("/etc/containerd", 0o755),
        Item::text("/etc/containerd/config.toml", &config(options)?),
        Item::dir(HOSTS_DIR, 0o755),
    ];
    if let Some(mirror) = &cluster.registries.mirror {
        // Docker Hub itself stays the last resort (F084).
        items.extend(hosts(
            "docker.io",
            "https://registry-1.docker.io",
            mirror,
            &["pull", "resolve"],
        ));
    }
    if let Some(private) = &cluster.registries.private {
        // The name becomes that of a folder.
        if private.contains('/') || private.starts_with('.') || private.is_empty() {
            return Err(FlavourError::Text {
                text: private.clone(),
                wanted: "a registry; write `host:port`",
            });
        }
        let url = format!("http://{private}");
        items.extend(hosts(private, &url, &url, &["pull", "resolve", "push"]));
    }
    let crictl = json!({"runtime-endpoint": SOCKET, "image-endpoint": SOCKET, "timeout": 10});
    items.push(Item::text("/etc/crictl.yaml", &to_yaml(&crictl)));
    Ok(items)
}

/// `config.toml`: version 2 for containerd 1, version 3 for containerd 2, whose plugins have other names. The cgroup
/// driver is systemd's, as the kubelet's is (F081).
///
/// Source: containerd, `docs/cri/config.md`.
fn config(options: &Options) -> Result<String, FlavourError> {
    let (version, runtime, images) = match options.containerd {
        1 => (2, "io.containerd.grpc.v1.cri", "io.containerd.grpc.v1.cri"),
        2 => (3, "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images"),
        other => {
            return Err(FlavourError::Text {
                text: other.to_string(),
                wanted: "a major version of containerd that is known here; use 1 or 2",
            });
        }
    };
    let runc = format!("plugins.{}.containerd.runtimes.runc", quote(runtime));
    let mut out = format!("version = {version}\n");
    // Writing to a String cannot fail.
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    if let (2, Some(image)) = (version, &options.pause_image) {
        line(format!("\n[plugins.{}]", quote(images)));
        line(format!("sandbox_image = {}", quote(image)));
    }
    line(format!("\n[{runc}]"));
    line(format!("runtime_type = {}", quote("io.containerd.runc.v2")));
    line(format!("\n[{runc}.options]"));
    line("SystemdCgroup = true".to_owned());
    line(format!("\n[plugins.{}.cni]", quote(runtime)));
    line(format!("bin_dir = {}", quote(CNI_BIN_DIR)));
    line(format!("conf_dir = {}", quote("/etc/cni/net.d")));
    if let (3, Some(image)) = (version, &options.pause_image) {
        line(format!("\n[plugins.{}.pinned_images]", quote(images)));
        line(format!("sandbox = {}", quote(image)));
    }
    line(format!("\n[plugins.{}.registry]", quote(images)));
    line(format!("config_path = {}", quote(HOSTS_DIR)));
    Ok(out)
}

/// The folder of one registry, and its `hosts.toml`; for root alone, since a URL may hold a password.
fn hosts(name: &str, server: &str, host: &str, capabilities: &[&str]) -> [Item; 2] {
    let list: Vec<String> = capabilities.iter().map(|c| quote(c)).collect();
    let text = format!(
        "server = {}\n\n[host.{}]\ncapabilities = [{}]\n",
        quote(server),
        quote(host),
        list.join(", ")
    );
    let dir = format!("{HOSTS_DIR}/{name}");
    let file = Item::secret(&format!("{dir}/hosts.toml"), &text);
    [Item::dir(&dir, 0o755), file]
}

/// A basic string of TOML 1.0.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
