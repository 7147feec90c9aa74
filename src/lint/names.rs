//! Domain, names of nodes, users and passwords.

use crate::planner::View;
use crate::spec::ClusterSpec;

use super::{Found, file};

/// Top-level domains for private use: RFC 6761, RFC 6762, RFC 8375, and `internal` (ICANN, 2024).
const PRIVATE: [&str; 4] = ["home.arpa", "internal", "test", "example"];

pub(super) fn check(cluster: &ClusterSpec, views: &[View<'_>], found: &mut Found) {
    let origin = file(cluster);
    if let Some(domain) = &cluster.domain {
        let domain = domain.as_str();
        let below = |top: &str| domain == top || domain.ends_with(&format!(".{top}"));
        if below("local") {
            found.warning(
                "P14",
                &origin,
                format!("the domain `{domain}` belongs to multicast DNS, so clients disagree about who answers for it"),
                format!("use `{}.home.arpa`", cluster.name),
            );
        } else if !PRIVATE.iter().any(|top| below(top)) {
            let top = domain.rsplit('.').next().unwrap_or(domain);
            found.warning(
                "P13",
                &origin,
                format!("`{top}` is, or may become, a domain of the public DNS; browsers force HTTPS for some of them, and names leak"),
                format!("use `{}.home.arpa`, or a domain that you own and `accept: [P13]`", cluster.name),
            );
        }
    }
    for view in views {
        let settings = &view.resolved.settings;
        if settings.users.is_empty() && view.role().in_cluster() {
            found.warning(
                "F048",
                &view.spec.origin,
                format!("node `{}` has no account, so nobody can log in", view.spec.name),
                "give `users:` with a public key, in the node, its profile or `defaults`",
            );
        }
        for (name, user) in &settings.users {
            if user.ssh_keys.is_empty() && user.password.is_none() {
                found.warning(
                    "F048",
                    &user.origin,
                    format!("user `{name}` has neither a key nor a password, so nobody can log in as it"),
                    "give `ssh-keys` or `password`",
                );
            }
        }
        if settings.ssh.password_login == Some(true) {
            found.warning(
                "F051",
                &view.spec.origin,
                format!("node `{}` lets passwords log in over SSH", view.spec.name),
                "use keys, and `ssh: {password-login: false}`",
            );
        }
    }
}
