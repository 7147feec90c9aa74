//! Both sides of each edge.

use super::super::{Base, CgroupVersion, Facts, Os, Runtime, System, Version, check, check_system};
use crate::flavour::{Flavour, Role, SwapUse};
use crate::plan::{Origin, Severity};
use crate::values::{Arch, ByteSize};

/// A node that no gate minds: k3s on a Pi 4 with trixie.
fn fine() -> Facts {
    Facts {
        version: "v1.36.4+k3s1".parse().expect("version"),
        flavour: Flavour::K3s,
        role: Role::FirstServer,
        arch: Some(Arch::Arm64),
        armv6: false,
        ram: Some(ByteSize(4 << 30)),
        runtime: Runtime::Containerd,
        swap: SwapUse::None,
        allow_cgroup_v1: false,
        vxlan: true,
        trimmed: false,
        ignore_preflight: Vec::new(),
        k3s_armhf: None,
        kubernetes_from_apt: false,
        gluster_in_tree: false,
        manifest_kinds: Vec::new(),
        packages: Vec::new(),
        system: System {
            network_config: Some(2),
            user_data_keys: vec!["users".to_owned(), "rpi".to_owned()],
            wpa_supplicant_conf: false,
        },
        base: Base {
            os: Os::RaspberryPiOs,
            debian: Some(13),
            ubuntu: None,
            kernel: Some(Version(6, 12, 47)),
            cgroup: Some(CgroupVersion::V2),
            pids: Some(true),
            cloud_init: Some(Version(25, 2, 0)),
            boot_mount: Some("/boot/firmware".to_owned()),
        },
    }
}

fn kubeadm(version: &str) -> Facts {
    Facts {
        version: version.parse().expect(version),
        flavour: Flavour::Kubeadm,
        ..fine()
    }
}

/// A kubeadm node on HypriotOS 1.10.0.
fn hypriot(version: &str) -> Facts {
    Facts {
        arch: Some(Arch::Armhf),
        role: Role::Agent,
        runtime: Runtime::Docker(Version(18, 6, 3)),
        system: System::default(),
        base: Base {
            os: Os::HypriotOs,
            debian: Some(9),
            ubuntu: None,
            kernel: Some(Version(4, 14, 98)),
            cgroup: Some(CgroupVersion::V1),
            pids: Some(false),
            cloud_init: Some(Version(0, 7, 9)),
            boot_mount: Some("/boot".to_owned()),
        },
        ..kubeadm(version)
    }
}

fn origin() -> Origin {
    Origin {
        file: "cluster.yaml".to_owned(),
        line: 3,
    }
}

/// `G1!` for an error, `G1?` for a warning.
fn ids(facts: &Facts) -> Vec<String> {
    check(facts, &origin())
        .iter()
        .map(|f| {
            assert!(!f.message.is_empty() && !f.remedy.is_empty(), "{f:?}");
            format!(
                "{}{}",
                f.id,
                if f.severity == Severity::Error { '!' } else { '?' }
            )
        })
        .collect()
}

fn with(mut facts: Facts, change: impl FnOnce(&mut Facts)) -> Facts {
    change(&mut facts);
    facts
}

#[track_caller]
fn edge(good: &Facts, bad: &Facts, id: &str) {
    assert_eq!(ids(good), Vec::<String>::new(), "the good side");
    assert_eq!(ids(bad), [id], "the bad side");
}

#[test]
fn nothing_is_said_of_what_fits_or_is_not_known() {
    assert_eq!(ids(&fine()), Vec::<String>::new());
    assert_eq!(ids(&hypriot("1.13.6")), Vec::<String>::new());
    let unknown = with(hypriot("1.36.4"), |f| {
        f.arch = Some(Arch::Arm64);
        f.runtime = Runtime::Containerd;
        f.ram = None;
        f.base.kernel = None;
        f.base.cgroup = None;
        f.base.pids = None;
        f.base.cloud_init = None;
        f.base.debian = None;
    });
    assert_eq!(ids(&unknown), Vec::<String>::new());
}

#[test]
fn g1_32_bit_arm() {
    let arm = |version: &str| with(kubeadm(version), |f| f.arch = Some(Arch::Armhf));
    edge(&arm("1.26.15"), &arm("1.27.0"), "G1!");
    let k3s = |there| {
        with(fine(), |f| {
            f.arch = Some(Arch::Armhf);
            f.k3s_armhf = there;
        })
    };
    edge(&k3s(Some(true)), &k3s(Some(false)), "G1!");
    edge(&k3s(None), &with(k3s(None), |f| f.armv6 = true), "G1!");
    edge(&arm("1.26.15"), &with(arm("1.26.15"), |f| f.armv6 = true), "G1!");
}

// rows: F027
#[test]
fn g2_p03_pids() {
    edge(&hypriot("1.13.6"), &hypriot("1.14.0"), "G2!");
    let newer = with(hypriot("1.14.0"), |f| f.base.pids = Some(true));
    edge(&newer, &with(newer.clone(), |f| f.base.pids = Some(false)), "G2!");
}

#[test]
fn g3_dockershim() {
    let docker = |version: &str| {
        with(kubeadm(version), |f| {
            f.runtime = Runtime::Docker(Version(20, 10, 5))
        })
    };
    let old_kernel = |f: &mut Facts| f.base.kernel = Some(Version(6, 1, 0));
    edge(
        &with(docker("1.23.17"), old_kernel),
        &with(docker("1.24.0"), old_kernel),
        "G3!",
    );
    let k3s = with(docker("1.36.0"), |f| f.flavour = Flavour::K3s);
    assert_eq!(ids(&k3s), Vec::<String>::new());
}

#[test]
fn g4_p05_kernel_6_12_and_proc_cgroups() {
    edge(&kubeadm("1.26.0"), &kubeadm("1.25.16"), "G4!");
    let older = with(kubeadm("1.25.16"), |f| f.base.kernel = Some(Version(6, 11, 99)));
    edge(
        &older,
        &with(older.clone(), |f| f.base.kernel = Some(Version(6, 12, 0))),
        "G4!",
    );
}

#[test]
fn g5_cgroup_v1() {
    let v1 = |version: &str| with(kubeadm(version), |f| f.base.cgroup = Some(CgroupVersion::V1));
    edge(&v1("1.34.11"), &v1("1.35.0"), "G5!");
    edge(&kubeadm("1.35.0"), &v1("1.35.0"), "G5!");
    assert_eq!(ids(&with(v1("1.35.0"), |f| f.allow_cgroup_v1 = true)), ["G5?"]);
    let swap = |f: &mut Facts| f.swap = SwapUse::Limited;
    edge(&with(kubeadm("1.34.11"), swap), &with(v1("1.34.11"), swap), "G5!");
}

#[test]
fn g6_p42_memory() {
    let ram = |facts: Facts, bytes| with(facts, |f| f.ram = Some(ByteSize(bytes)));
    edge(
        &ram(kubeadm("1.34.0"), 1_700_000_000),
        &ram(kubeadm("1.34.0"), 1_699_999_999),
        "G6!",
    );
    let named = with(ram(kubeadm("1.34.0"), 1 << 30), |f| {
        f.ignore_preflight = vec!["Mem".to_owned()]
    });
    assert_eq!(ids(&named), ["G6?"]);
    edge(&ram(fine(), 1_700_000_000), &ram(fine(), 1 << 30), "G6?");
    let remedy = |trimmed| {
        let facts = with(ram(fine(), 1 << 30), |f| f.trimmed = trimmed);
        check(&facts, &origin())[0].remedy.clone()
    };
    assert!(remedy(false).contains("disable"), "{}", remedy(false));
    assert_ne!(remedy(false), remedy(true));
    let agent = |bytes| with(ram(fine(), bytes), |f| f.role = Role::Agent);
    edge(&agent(450_000_000), &agent(449_999_999), "G6!");
}

#[test]
fn g7_p53_signatures_on_trixie() {
    let apt = |version: &str| with(kubeadm(version), |f| f.kubernetes_from_apt = true);
    edge(&apt("1.31.0"), &apt("1.30.14"), "G7!");
    edge(&kubeadm("1.30.14"), &apt("1.30.14"), "G7!");
    let bookworm = |f: &mut Facts| f.base.debian = Some(12);
    edge(&with(apt("1.30.14"), bookworm), &apt("1.30.14"), "G7!");
}

#[test]
fn g8_what_went_away() {
    let old_kernel = |f: &mut Facts| f.base.kernel = Some(Version(6, 1, 0));
    let gluster = |version: &str| with(with(kubeadm(version), old_kernel), |f| f.gluster_in_tree = true);
    edge(&gluster("1.25.16"), &gluster("1.26.0"), "G8!");
    for (kind, last, gone) in [
        ("extensions/v1beta1 Deployment", "1.15.12", "1.16.0"),
        ("apps/v1beta2 StatefulSet", "1.15.12", "1.16.0"),
        ("extensions/v1beta1 Ingress", "1.21.14", "1.22.0"),
        ("networking.k8s.io/v1beta1 Ingress", "1.21.14", "1.22.0"),
        (
            "rbac.authorization.k8s.io/v1beta1 ClusterRole",
            "1.21.14",
            "1.22.0",
        ),
    ] {
        let uses = |version: &str| {
            with(with(kubeadm(version), old_kernel), |f| {
                f.manifest_kinds = vec![kind.to_owned()]
            })
        };
        edge(&uses(last), &uses(gone), "G8!");
    }
    let now = with(fine(), |f| {
        f.manifest_kinds = vec!["apps/v1 Deployment".to_owned()]
    });
    assert_eq!(ids(&now), Vec::<String>::new());
}

#[test]
fn g9_p47_old_cloud_init() {
    let at = |version, form| {
        with(fine(), |f| {
            f.base.cloud_init = Some(version);
            f.system.network_config = form;
            f.system.user_data_keys = vec!["users".to_owned()];
        })
    };
    let old = Version(0, 7, 9);
    edge(&at(old, Some(1)), &at(old, Some(2)), "G9!");
    edge(&at(Version(17, 1, 0), Some(2)), &at(old, Some(2)), "G9!");
    edge(&at(Version(0, 7, 6), None), &at(Version(0, 7, 6), Some(1)), "G9!");
    let keys = |key: &str| with(at(old, None), |f| f.system.user_data_keys = vec![key.to_owned()]);
    edge(&keys("write_files"), &keys("wireguard"), "G9!");
}

#[test]
fn g10_docker_29_on_32_bit() {
    let at = |major, arch, os| {
        with(fine(), |f| {
            f.arch = Some(arch);
            f.runtime = Runtime::Docker(Version(major, 0, 0));
            f.base.os = os;
        })
    };
    edge(
        &at(28, Arch::Armhf, Os::RaspberryPiOs),
        &at(29, Arch::Armhf, Os::RaspberryPiOs),
        "G10!",
    );
    edge(
        &at(29, Arch::Arm64, Os::RaspberryPiOs),
        &at(29, Arch::Armhf, Os::RaspberryPiOs),
        "G10!",
    );
    assert_eq!(ids(&at(29, Arch::Armhf, Os::Debian)), Vec::<String>::new());
    let armv6 = with(at(29, Arch::Armhf, Os::Debian), |f| f.armv6 = true);
    assert_eq!(ids(&armv6), ["G1!", "G10!"]);
}

#[test]
fn g11_raspberry_pi_os_since_bookworm() {
    let mount = |debian, mount: &str| {
        with(fine(), |f| {
            f.base.debian = Some(debian);
            f.base.boot_mount = Some(mount.to_owned());
        })
    };
    edge(&mount(11, "/boot"), &mount(12, "/boot"), "G11!");
    edge(&mount(12, "/boot/firmware"), &mount(12, "/boot"), "G11!");
    let wifi = |f: &mut Facts| f.system.wpa_supplicant_conf = true;
    let bad = with(mount(12, "/boot/firmware"), wifi);
    edge(&with(mount(11, "/boot"), wifi), &bad, "G11!");
    // It is so on nodes without Kubernetes too, and has their place.
    let found = check_system(&bad.system, &bad.base, &origin());
    assert_eq!((found.len(), found[0].id), (1, "G11"));
    assert_eq!(found[0].origin, origin());
}

#[test]
fn g12_vxlan_on_ubuntu() {
    let at = |major, minor| {
        with(fine(), |f| {
            f.base.os = Os::Ubuntu;
            f.base.debian = None;
            f.base.ubuntu = Some(Version(major, minor, 0));
        })
    };
    edge(&at(20, 4), &at(20, 10), "G12!");
    edge(&at(24, 4), &at(23, 10), "G12!");
    let package = |f: &mut Facts| f.packages = vec!["linux-modules-extra-raspi".to_owned()];
    edge(&with(at(22, 4), package), &at(22, 4), "G12!");
    edge(&with(at(22, 4), |f| f.vxlan = false), &at(22, 4), "G12!");
}

#[test]
fn p12_swap_and_old_kubelets() {
    let at = |version: &str, swap| {
        with(kubeadm(version), |f| {
            f.swap = swap;
            f.base.kernel = Some(Version(6, 1, 0));
        })
    };
    edge(
        &at("1.22.0", SwapUse::Limited),
        &at("1.21.14", SwapUse::Limited),
        "P12!",
    );
    let v1 = |swap| with(at("1.30.0", swap), |f| f.base.cgroup = Some(CgroupVersion::V1));
    edge(&v1(SwapUse::None), &v1(SwapUse::NotForPods), "P12?");
    edge(
        &at("1.30.0", SwapUse::NotForPods),
        &v1(SwapUse::NotForPods),
        "P12?",
    );
}

#[test]
fn p44_docker_newer_than_kubernetes() {
    let docker = |version: &str, docker| {
        with(hypriot(version), |f| {
            f.runtime = Runtime::Docker(docker);
            f.base.pids = Some(true);
        })
    };
    edge(
        &docker("1.11.10", Version(17, 3, 2)),
        &docker("1.11.10", Version(17, 6, 0)),
        "P44!",
    );
    edge(
        &docker("1.13.6", Version(18, 6, 3)),
        &docker("1.13.6", Version(18, 9, 0)),
        "P44?",
    );
    edge(
        &docker("1.14.0", Version(18, 9, 8)),
        &docker("1.14.0", Version(19, 3, 0)),
        "P44?",
    );
    edge(
        &docker("1.19.0", Version(19, 3, 15)),
        &docker("1.19.0", Version(20, 10, 0)),
        "P44?",
    );
    edge(
        &docker("1.20.0", Version(20, 10, 24)),
        &docker("1.20.0", Version(23, 0, 0)),
        "P44?",
    );
}

#[test]
fn p65_kernel_floor() {
    let kernel = |patch| with(hypriot("1.12.1"), |f| f.base.kernel = Some(Version(4, 14, patch)));
    edge(&kernel(73), &kernel(72), "P65!");
    let before = with(kernel(72), |f| f.runtime = Runtime::Docker(Version(17, 3, 2)));
    edge(&before, &kernel(72), "P65!");
}

#[test]
fn versions_of_kernels_and_packages() {
    for (text, version) in [
        ("4.14.98-v7+", Version(4, 14, 98)),
        ("6.12.47+rpt-rpi-v8", Version(6, 12, 47)),
        ("18.06.3", Version(18, 6, 3)),
        ("24.04", Version(24, 4, 0)),
        ("25.2-1~bpo13+1", Version(25, 2, 0)),
        ("6.12-rc1.5", Version(6, 12, 0)),
    ] {
        assert_eq!(text.parse(), Ok(version), "{text}");
    }
    for text in ["", "6", "v6.1", "x.y", "99999999999.1", "6-1.2"] {
        assert!(text.parse::<Version>().is_err(), "{text}");
    }
}
