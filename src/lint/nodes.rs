//! Boards, roles, Kubernetes, services of single nodes and of each cluster as a whole.

use std::collections::BTreeMap;

use crate::board::Cpu;
use crate::flavour::{Taint, label_problem};
use crate::plan::BasePlace;
use crate::planner::View;
use crate::spec::{Architecture, ClusterSpec, Distribution, Role, SwapSettings};

use super::{Found, Severity, file};

/// Memory in MiB that a control plane of any kind takes.
const CONTROL_PLANE_MIB: u32 = 1700;

pub(super) fn check(cluster: &ClusterSpec, views: &[View<'_>], found: &mut Found) {
    for view in views {
        board(cluster, view, found);
        ports(cluster, view, found);
        wishes(view, found);
        trust(view, found);
    }
    if let Some(kubernetes) = &cluster.kubernetes
        && kubernetes.distribution.value != Distribution::None
    {
        let mut clusters: BTreeMap<&str, Vec<&View<'_>>> = BTreeMap::new();
        for view in views {
            clusters.entry(&view.cluster).or_default().push(view);
        }
        for (name, members) in clusters {
            quorum(cluster, name, &members, found);
        }
        token(cluster, found);
    }
}

fn board(cluster: &ClusterSpec, view: &View<'_>, found: &mut Found) {
    let settings = &view.resolved.settings;
    let Some(board) = &settings.board else {
        return;
    };
    let model = board.model;
    if !board.exists() {
        found.warning(
            "P59",
            &board.origin,
            format!(
                "a {} was never made with {} MiB of memory",
                model.title,
                board.memory()
            ),
            format!("sizes are {:?} MiB", model.memory),
        );
    }
    if let Some(arch) = &settings.arch {
        let runs = match arch.value {
            Architecture::Arm64 => model.cpu == Cpu::Armv8,
            Architecture::Armhf => matches!(model.cpu, Cpu::Armv6 | Cpu::Armv7 | Cpu::Armv8),
            Architecture::Amd64 => model.cpu == Cpu::Amd64,
        };
        if !runs {
            found.error(
                "F010",
                &arch.origin,
                format!("a {} does not run {} systems", model.title, arch.word()),
                "choose another base and `arch`, or another board",
            );
        }
    }
    // Of k3s and kubeadm the gate G6 knows better.
    let gated = cluster
        .kubernetes
        .as_ref()
        .is_some_and(|k| k.distribution.value != Distribution::None);
    if view.role() == Role::Server && board.memory() < CONTROL_PLANE_MIB && !gated {
        found.warning(
            "P42",
            &board.origin,
            format!(
                "`{}` runs a control plane on {} MiB; a loaded one takes {CONTROL_PLANE_MIB} MiB and starves below",
                view.spec.name,
                board.memory()
            ),
            "use a board with 2 GiB, or give it `swap: {zram: …}`",
        );
    }
    for port in &view.ports {
        if port.wifi.is_some() && !model.wifi {
            found.error(
                "F091",
                &view.spec.origin,
                format!(
                    "`{}` joins a WiFi, and a {} has none",
                    view.spec.name, model.title
                ),
                "use its wired interface, or another board",
            );
        }
        if port.name.starts_with("eth") && !model.ethernet {
            found.error(
                "F140",
                &view.spec.origin,
                format!(
                    "`{}` has `{}`, and a {} has no wired interface",
                    view.spec.name, port.name, model.title
                ),
                "use its WiFi, or another board",
            );
        }
    }
}

/// Two programs that want one port (P54).
fn ports(cluster: &ClusterSpec, view: &View<'_>, found: &mut Found) {
    let settings = &view.resolved.settings;
    let registry = settings.services.contains_key("registry");
    let embedded = settings.services.contains_key("embedded-mirror")
        || settings.kubelet.args.contains_key("embedded-registry");
    let private_5001 = cluster
        .registries
        .private
        .as_ref()
        .is_some_and(|p| p.value.ends_with(":5001"));
    if view.role().in_cluster() && embedded && (registry || private_5001) {
        found.error(
            "P54",
            &view.spec.origin,
            format!(
                "the mirror that k3s has built in and the private registry both want 5001/tcp on `{}`",
                view.spec.name
            ),
            "give the private registry another port, or do without the built-in mirror",
        );
    }
    if view.role() == Role::Server && settings.services.contains_key("ingress-entry") {
        found.error(
            "P54",
            &view.spec.origin,
            format!(
                "`{}` is a server, and its ingress controller already has ports 80 and 443",
                view.spec.name
            ),
            "put the entry on the router",
        );
    }
}

fn wishes(view: &View<'_>, found: &mut Found) {
    let settings = &view.resolved.settings;
    let origin = &view.spec.origin;
    if view.role().in_cluster() && settings.swap.is_none() {
        found.warning(
            "P10",
            origin,
            format!("node `{}` does not say what becomes of swap; some bases have it on, and a kubelet refuses it", view.spec.name),
            "set `swap: off`, `swap: limited` or `swap: {zram: 512MiB}`",
        );
    }
    if let Some(board) = &settings.board
        && settings.services.contains_key("gluster")
        && board.memory() <= 1024
        && settings
            .swap
            .as_ref()
            .is_some_and(|s| s.value == SwapSettings::Off)
    {
        found.warning(
            "P11",
            origin,
            format!("`{}` stores Gluster bricks with 1 GiB of memory and no swap, and will wait for its disk most of the time", view.spec.name),
            "set `swap: limited` or `swap: {zram: 512MiB}`",
        );
    }
    for (key, value) in &settings.labels {
        if let Some(wanted) = label_problem(key, &value.value) {
            found.error(
                "F120",
                &value.origin,
                format!("`{key}={}` is not {wanted}", value.value),
                "change or remove it: the kubelet would not register with it",
            );
        }
    }
    for taint in &settings.taints {
        if let Err(error) = taint.value.parse::<Taint>() {
            found.error(
                "F121",
                &taint.origin,
                error.to_string(),
                "write `key=value:NoSchedule`, `…:PreferNoSchedule` or `…:NoExecute`",
            );
        }
    }
}

/// Bases that clusters are known to fail on (P45).
pub(super) fn bases(views: &[View<'_>], against: &dyn Fn(&str) -> Option<String>, found: &mut Found) {
    for base in views.iter().filter_map(|view| view.resolved.base.as_ref()) {
        if let BasePlace::Name(name) = &base.place
            && let Some(why) = against(name)
        {
            found.warning(
                "P45",
                &base.origin,
                format!("the base `{name}` is known to be faulty: {why}"),
                "take another version; `ceil-img images` lists them",
            );
        }
    }
}

/// Inputs that may be others tomorrow (P31).
fn trust(view: &View<'_>, found: &mut Found) {
    let Some(base) = &view.resolved.base else {
        return;
    };
    let pinned = base.sha256.is_some() || base.sha512.is_some() || base.raw_sha256.is_some();
    if matches!(base.place, BasePlace::Url(_)) && !pinned && base.checksum_url.is_none() {
        found.warning(
            "P31",
            &base.origin,
            format!(
                "the base {} has no digest, so it may be another tomorrow",
                base.place
            ),
            "give `sha256`, or `checksum_url`, or keep `ceil.lock` with the cluster file",
        );
    }
}

/// Servers and agents of one cluster.
fn quorum(cluster: &ClusterSpec, name: &str, members: &[&View<'_>], found: &mut Found) {
    let of = |role: Role| members.iter().filter(|v| v.role() == role).count();
    let (servers, agents) = (of(Role::Server), of(Role::Agent));
    let origin = file(cluster);
    if servers == 0 && agents > 0 {
        found.error(
            "F104",
            &origin,
            format!("the cluster `{name}` has {agents} agents and no server"),
            "give one node `role: server`",
        );
    }
    if servers > 1 && servers % 2 == 0 {
        found.add(
            "F100",
            Severity::Warning,
            &origin,
            format!(
                "the cluster `{name}` has {servers} servers: etcd then bears no more failures than with {}",
                servers - 1
            ),
            "use one, three or five servers",
        );
    }
    let told = cluster.kubernetes.as_ref().is_some_and(|k| k.endpoint.is_some());
    if servers > 1 && !told {
        found.warning(
            "F111",
            &origin,
            format!("the cluster `{name}` has {servers} servers, and agents know the first alone"),
            "give `kubernetes: {endpoint: …}` with a name or address that moves with the servers",
        );
    }
}

fn token(cluster: &ClusterSpec, found: &mut Found) {
    let Some(kubernetes) = &cluster.kubernetes else {
        return;
    };
    if kubernetes.distribution.value != Distribution::Kubeadm {
        return;
    }
    match &kubernetes.token_ttl {
        // What is made here lives a year.
        None => {}
        Some(ttl) if ["0", "0s"].contains(&ttl.value.as_str()) => found.warning(
            "P23",
            &ttl.origin,
            "the bootstrap token never expires, so whoever finds an old card can join",
            "give it a life, such as `8760h`",
        ),
        Some(ttl) if is_short(&ttl.value) => found.warning(
            "P23",
            &ttl.origin,
            "the bootstrap token lives less than a day: a card that waits in a drawer cannot join",
            "leave `token-ttl` out for a year, or give `8760h`",
        ),
        Some(_) => {}
    }
}

/// Whether a duration as Go writes it, such as `90m` or `1h30m`, is less than a day. What cannot be read is kubeadm's to
/// refuse.
fn is_short(text: &str) -> bool {
    match text.split_once('h') {
        Some((hours, _)) => hours.parse::<u64>().is_ok_and(|hours| hours < 24),
        None => text.ends_with(['m', 's']),
    }
}
