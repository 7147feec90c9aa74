//! A node with every kind of wish on every family of bases: outsiders read the result and judge its files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ceil_img::base_os::{BaseFacts, DbusId, NetworkManager, Resolved, identity_edits, probe};
use ceil_img::image::Image;
use ceil_img::plan::{
    Address, BasePlace, BaseRef, Content, Host, HostKeyFiles, Identity, Interface, NodePlan, Op, Origin,
    OutputFormat, PasswordHashes, Ssh, StaticAddress, Swap, Unit, UnitState, User, Wifi, Wishes,
};
use ceil_img::secrets::HostKey;
use ceil_img::values::{ByteSize, Digest, VolumeName};

use crate::pipeline::{EPOCH, Raw, write_edited};
use crate::support::bases::{self, Base, each_family};
use crate::support::judge::{self, Partition};
use crate::support::tools;

/// What the fixture of a family is, and which way its wishes go.
struct Known {
    /// cloud-init carries accounts.
    seeded: bool,
    network: NetworkManager,
    /// sshd_config reads further files.
    drop_ins: bool,
    /// A module of the wishes that the kernel has.
    kernel: &'static str,
    dphys: bool,
    rpi_swap: bool,
    dbus: DbusId,
    cgroups: u8,
}

fn known(family: &str) -> Known {
    use NetworkManager::{Dhcpcd, Ifupdown, NetworkManager as Manager, Networkd};
    let (seeded, network, drop_ins, kernel, cgroups) = match family {
        "hypriot" => (true, Ifupdown, false, "4.14.98-v7+", 1),
        "rpi64" => (true, Ifupdown, false, "4.14.37-hypriotos-v8", 1),
        "raspios-buster" => (false, Dhcpcd, false, "5.10.17-v7l+", 1),
        "raspios-bullseye" => (false, Dhcpcd, true, "5.15.61-v8+", 2),
        "raspios-bookworm" => (false, Manager, true, "6.6.20+rpt-rpi-v8", 2),
        "raspios-trixie" => (true, Manager, true, "6.12.75+rpt-rpi-v8", 2),
        "ubuntu-raspi" => (true, Networkd, true, "6.8.0-1031-raspi", 2),
        _ => (false, Networkd, true, "6.12.107+deb13-arm64", 2),
    };
    Known {
        seeded,
        network,
        drop_ins,
        kernel,
        dphys: matches!(family, "raspios-buster" | "raspios-bullseye" | "raspios-bookworm"),
        rpi_swap: family == "raspios-trixie",
        dbus: if family == "hypriot" {
            DbusId::File
        } else {
            DbusId::Missing
        },
        cgroups,
    }
}

fn facts(base: &Base) -> BaseFacts {
    let image = Image::open(Raw::open(&base.path)).unwrap();
    probe(
        image.volume(VolumeName::Boot).unwrap(),
        image.volume(VolumeName::Root).unwrap(),
    )
    .unwrap()
}

fn host_key() -> HostKey {
    HostKey::make(&mut |bytes: &mut [u8]| {
        bytes.fill(7);
        Ok(())
    })
    .unwrap()
}

fn wishes(wireless: bool) -> Wishes {
    let key = host_key();
    let user = |name: &str, password: bool| User {
        name: name.to_owned(),
        gecos: Some("Ann O'Nymous".to_owned()),
        groups: vec!["sudo".to_owned(), "docker".to_owned()],
        sudo: Some("ALL=(ALL) NOPASSWD:ALL".to_owned()),
        shell: "/bin/bash".to_owned(),
        ssh_keys: vec!["ssh-ed25519 AAAA ann@desk".to_owned()],
        password: password.then(|| PasswordHashes {
            sha512_crypt: "$6$salt$six".to_owned(),
            yescrypt: "$y$j9T$salt$yes".to_owned(),
        }),
    };
    let wired = StaticAddress {
        interface: "eth0".to_owned(),
        ip: "10.11.0.101".parse().unwrap(),
        prefix: 25,
        gateway: "10.11.0.1".parse().ok(),
        dns: vec!["10.11.0.1".parse().unwrap()],
    };
    let mut interfaces = vec![Interface {
        name: "eth0".to_owned(),
        address: Address::Static(wired),
        wifi: None,
        optional: true,
    }];
    if wireless {
        interfaces.push(Interface {
            name: "wlan0".to_owned(),
            address: Address::Dhcp,
            wifi: Some(Wifi {
                ssid: "A \"net\"".to_owned(),
                psk: Some("0f".repeat(32)),
                country: "DE".to_owned(),
                hidden: true,
                power_save: false,
            }),
            optional: true,
        });
    }
    Wishes {
        users: vec![user("ann", true), user("bob.b", false)],
        ssh: Ssh {
            enabled: Some(true),
            password_login: Some(false),
            host_key: Some(HostKeyFiles {
                private: Content::secret(key.to_openssh().reveal().as_bytes()),
                public: key.public("one"),
            }),
        },
        timezone: Some("Europe/Berlin".to_owned()),
        locale: Some("de_DE.UTF-8".to_owned()),
        keyboard: Some("de".to_owned()),
        interfaces,
        hosts: vec![Host {
            ip: "10.11.0.102".parse().unwrap(),
            names: vec!["two".parse().unwrap()],
        }],
        packages: vec!["nftables".to_owned()],
        upgrade: Some(false),
        swap: Some(Swap::Off),
        sysctls: vec![("net.ipv4.ip_forward".to_owned(), "1".to_owned())],
        modules: vec![
            "br_netfilter".to_owned(),
            "overlay".to_owned(),
            "dm-snapshot".to_owned(),
        ],
        units: vec![Unit {
            name: "apt-daily.timer".to_owned(),
            state: UnitState::Masked,
        }],
        legacy: false,
    }
}

fn plan(wishes: Wishes) -> NodePlan {
    let origin = Origin {
        file: "cluster.yaml".to_owned(),
        line: 1,
    };
    NodePlan {
        cluster: "c".to_owned(),
        node: "one".to_owned(),
        role: "helper",
        programs: Vec::new(),
        profile: "p".to_owned(),
        origin: origin.clone(),
        base: BaseRef {
            place: BasePlace::Name("b".to_owned()),
            sha256: None,
            sha512: None,
            raw_sha256: None,
            checksum_url: None,
            origin,
        },
        edits: Vec::new(),
        identity: Identity {
            hostname: "one".parse().unwrap(),
            domain: None,
            instance_id: "c-one-0".to_owned(),
            address: Address::Dhcp,
        },
        wishes,
        reserve: ByteSize(0),
        epoch: EPOCH,
        output: OutputFormat::Img,
        digest: Digest::sha256(b""),
    }
}

#[test]
fn f032_f062_f070_f076_the_families_are_told_apart() {
    for base in bases::all() {
        let (facts, known) = (facts(&base), known(base.family));
        let name = base.family;
        let system = &facts.system;
        assert_eq!(
            facts.cloud_init.as_ref().is_some_and(|c| c.seed.is_some()),
            known.seeded,
            "{name}"
        );
        assert_eq!(facts.network, known.network, "{name}");
        assert_eq!(system.ssh.has_drop_ins(), known.drop_ins, "{name}");
        assert_eq!(facts.cgroup_generation(), Some(known.cgroups), "{name}");
        assert!(system.is_systemd(), "{name}");
        assert_eq!(system.dbus_id, known.dbus, "{name}");
        assert!(!system.shared_machine_id && !system.preseed, "{name}");
        assert_eq!(
            (system.swap.dphys.is_some(), system.swap.rpi_swap),
            (known.dphys, known.rpi_swap),
            "{name}"
        );
        let kernels: Vec<&str> = system.kernels.iter().map(|k| k.release.as_str()).collect();
        assert_eq!(kernels, [known.kernel], "{name}");
        assert_eq!(system.lacks_module("dm_snapshot"), Some(vec![]), "{name}");
        assert_eq!(system.lacks_module("zfs"), Some(vec![known.kernel]), "{name}");
        assert!(
            system.zones.contains("Europe/Berlin") && system.zones.contains("UTC"),
            "{name}"
        );
        assert_eq!(facts.boot_prefix(), "", "{name}");
        let blocked = name.starts_with("raspios-");
        assert_eq!(!system.radio.blocked.is_empty(), blocked, "{name}");
        assert_eq!(
            system.radio.nm_state.is_some(),
            known.network == NetworkManager::NetworkManager,
            "{name}"
        );
    }
}

struct Seen<'a> {
    image: &'a Path,
    boot: &'a Partition,
    root: &'a Partition,
    merged: bool,
}

impl Seen<'_> {
    fn cat(&self, path: &str) -> String {
        String::from_utf8(judge::ext4_cat(self.image, self.root, path)).unwrap()
    }

    fn fat(&self, path: &str) -> String {
        String::from_utf8(judge::fat_cat(self.image, self.boot, path)).unwrap()
    }

    /// Mode, user, group.
    fn stat(&self, path: &str) -> (String, String, String) {
        let said = judge::debugfs(self.image, self.root, &format!("stat \"{path}\""));
        let after = |word: &str| {
            let rest = said
                .split(word)
                .nth(1)
                .unwrap_or_else(|| panic!("{path}: {said}"));
            rest.split_whitespace().next().unwrap().to_owned()
        };
        (after("Mode:"), after("User:"), after("Group:"))
    }

    fn links_to(&self, path: &str, target: &str) -> bool {
        let said = judge::debugfs(self.image, self.root, &format!("stat \"{path}\""));
        said.contains(&format!("Fast link dest: \"{target}\""))
    }
}

fn mode(mode: &str, user: u32, group: u32) -> (String, String, String) {
    (mode.to_owned(), user.to_string(), group.to_string())
}

fn accounts(seen: &Seen<'_>, base: &Base, known: &Known) {
    let hash = if known.cgroups == 2 {
        "$y$j9T$salt$yes"
    } else {
        "$6$salt$six"
    };
    if known.seeded {
        let text = seen.fat("user-data");
        let key = if base.family == "hypriot" || base.family == "rpi64" {
            "passwd"
        } else {
            "hashed_passwd"
        };
        assert!(text.contains(&format!("    {key}: \"{hash}\"\n")), "{text}");
        assert!(
            text.contains("  - name: \"ann\"\n") && !text.contains("pirate"),
            "{text}"
        );
        assert_eq!(
            seen.cat("/etc/passwd"),
            String::from_utf8(judge::ext4_cat(&base.path, &base.root, "/etc/passwd")).unwrap()
        );
        return;
    }
    // Where `pi` has 1000, Ann has the next.
    let id = if base.family == "debian-gpt" { 1000 } else { 1001 };
    let passwd = seen.cat("/etc/passwd");
    assert!(
        passwd.contains(&format!("ann:x:{id}:{id}:Ann O'Nymous:/home/ann:/bin/bash\n")),
        "{passwd}"
    );
    let shadow = seen.cat("/etc/shadow");
    assert!(
        shadow.contains(&format!("ann:{hash}:")) && shadow.contains("bob.b:!:"),
        "{shadow}"
    );
    assert!(!shadow.contains("notarealhash"), "f049: {shadow}");
    assert_eq!(seen.stat("/etc/shadow"), mode("0640", 0, 42));
    assert_eq!(seen.stat("/etc/gshadow"), mode("0640", 0, 42));
    assert_eq!(seen.stat("/etc/passwd"), mode("0644", 0, 0));
    assert!(seen.cat("/etc/group").contains("docker:x:999:ann,bob.b\n"));
    assert_eq!(seen.stat("/home/ann"), mode("0700", id, id));
    assert_eq!(seen.stat("/home/ann/.ssh"), mode("0700", id, id));
    assert_eq!(seen.stat("/home/ann/.ssh/authorized_keys"), mode("0600", id, id));
    assert_eq!(seen.stat("/home/ann/.profile"), mode("0644", id, id));
    let rule = "/etc/sudoers.d/90-ceil-bob_b";
    assert_eq!(seen.stat(rule), mode("0440", 0, 0));
    if tools::have(&["visudo"]) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rule");
        fs::write(&file, seen.cat(rule)).unwrap();
        tools::run(tools::command("visudo").arg("-cqf").arg(&file));
    }
}

fn server(seen: &Seen<'_>, known: &Known, own_key: bool) {
    let key = if own_key {
        "/etc/ssh/ceil_host_ed25519_key"
    } else {
        "/etc/ssh/ssh_host_ed25519_key"
    };
    for path in [key, "/etc/ssh/ssh_host_ed25519_key"] {
        assert_eq!(seen.stat(path), mode("0600", 0, 0), "f052");
        assert_eq!(seen.stat(&format!("{path}.pub")), mode("0644", 0, 0));
    }
    let config = if known.drop_ins {
        seen.cat("/etc/ssh/sshd_config.d/10-ceil.conf")
    } else {
        seen.cat("/etc/ssh/sshd_config")
    };
    assert!(
        config.starts_with("PasswordAuthentication no\n"),
        "f051: {config}"
    );
    assert!(
        seen.links_to(
            "/etc/systemd/system/multi-user.target.wants/ssh.service",
            "/usr/lib/systemd/system/ssh.service"
        ),
        "f033"
    );
    if !tools::is_root() || !tools::have(&["sshd"]) {
        return;
    }
    fs::create_dir_all("/run/sshd").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    fs::write(&file, seen.cat(key)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let conf = dir.path().join("conf");
    fs::write(&conf, config.replace(key, file.to_str().unwrap())).unwrap();
    let said = tools::run(tools::command("sshd").arg("-T").arg("-f").arg(&conf));
    let said = String::from_utf8(said).unwrap();
    for line in ["passwordauthentication no", "kbdinteractiveauthentication no"] {
        assert!(said.lines().any(|l| l == line), "f051 {line}");
    }
    let keys: Vec<&str> = said.lines().filter(|l| l.starts_with("hostkey ")).collect();
    assert_eq!(keys, [format!("hostkey {}", file.display())]);
}

fn seeds(seen: &Seen<'_>, base: &Base) {
    let old = matches!(base.family, "hypriot" | "rpi64");
    let text = seen.fat("user-data");
    assert!(text.contains("manage_etc_hosts: false"), "p48: {text}");
    let version = if old { "0.7.9-2" } else { "25.1.4" };
    assert_eq!(
        ceil_img::cloud_config::check_user_data(&text, Some(version)),
        [],
        "{text}"
    );
    if !old {
        let network = seen.fat("network-config");
        assert_eq!(
            ceil_img::cloud_config::check_network_config(&network, Some(version)),
            [],
            "{network}"
        );
        assert!(
            network.contains("eth0:") && network.contains("wlan0:"),
            "f042: {network}"
        );
    }
    if tools::have(&["cloud-init"]) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("user-data");
        fs::write(&file, &text).unwrap();
        tools::run(tools::command("cloud-init").args(["schema", "-c"]).arg(&file));
    }
}

fn network(seen: &Seen<'_>, base: &Base, known: &Known) {
    let psk = "0f".repeat(32);
    let secret = match (known.seeded, known.network) {
        (true, NetworkManager::Ifupdown) => {
            assert!(
                seen.cat("/etc/cloud/cloud.cfg.d/99-ceil-network.cfg")
                    .contains("disabled"),
                "p39"
            );
            let text = seen.cat("/etc/network/interfaces.d/ceil-eth0");
            assert!(text.contains("address 10.11.0.101/25"), "{text}");
            "/etc/wpa_supplicant/wpa_supplicant-wlan0.conf"
        }
        (true, _) => return,
        (false, NetworkManager::NetworkManager) => {
            "/etc/NetworkManager/system-connections/ceil-wlan0.nmconnection"
        }
        (false, _) => "/etc/wpa_supplicant/wpa_supplicant-wlan0.conf",
    };
    assert!(seen.cat(secret).contains(&psk), "f091 {}", base.family);
    assert_eq!(seen.stat(secret), mode("0600", 0, 0));
}

fn rest(seen: &Seen<'_>, base: &Base, known: &Known) {
    let hosts = seen.cat("/etc/hosts");
    assert!(
        hosts.contains("127.0.1.1\tone\n") && hosts.contains("10.11.0.102\ttwo\n"),
        "f045, p63: {hosts}"
    );
    assert_eq!(seen.cat("/etc/timezone"), "Europe/Berlin\n");
    assert!(
        seen.links_to("/etc/localtime", "/usr/share/zoneinfo/Europe/Berlin"),
        "f047"
    );
    let locale = if base.family == "raspios-trixie" {
        "/etc/locale.conf"
    } else {
        "/etc/default/locale"
    };
    let baked = seen.cat(locale) == "LANG=de_DE.UTF-8\n";
    assert_eq!(
        baked, !known.seeded,
        "f046: cloud-init makes it where there is one"
    );
    assert!(seen.cat("/etc/default/keyboard").contains("XKBLAYOUT=\"de\"\n"));
    assert_eq!(
        seen.cat("/etc/sysctl.d/90-ceil.conf"),
        "net.ipv4.ip_forward = 1\n",
        "f074"
    );
    assert_eq!(
        seen.cat("/etc/modules-load.d/ceil.conf"),
        "br_netfilter\noverlay\ndm-snapshot\n",
        "f075"
    );
    assert!(seen.links_to("/etc/systemd/system/apt-daily.timer", "/dev/null"));
    let id = seen.cat("/etc/machine-id");
    assert!(matches!(id.trim(), "" | "uninitialized"), "f062: {id}");
    if known.dbus == DbusId::File {
        assert!(
            seen.links_to("/var/lib/dbus/machine-id", "/etc/machine-id"),
            "p01"
        );
    }
    if known.dphys {
        assert!(
            seen.links_to("/etc/systemd/system/dphys-swapfile.service", "/dev/null"),
            "f070"
        );
        assert!(seen.cat("/etc/dphys-swapfile").contains("CONF_SWAPSIZE=0\n"));
    }
    if known.rpi_swap {
        assert_eq!(
            seen.cat("/etc/rpi/swap.conf.d/90-ceil.conf"),
            "[Main]\nMechanism=none\n"
        );
        assert!(
            seen.links_to("/etc/systemd/system-generators/rpi-swap-generator", "/dev/null"),
            "p56"
        );
    }
    if base.family.starts_with("raspios-") {
        assert_eq!(
            seen.cat("/var/lib/systemd/rfkill/platform-fe300000.mmcnr:wlan"),
            "0\n",
            "p38"
        );
    }
    if seen.merged && !base.family.starts_with("ubuntu") && known.network != NetworkManager::Ifupdown {
        let said = judge::debugfs(seen.image, seen.root, "stat /var/lib/systemd/timesync/clock");
        let stamp = format!("mtime: 0x{:08x}", EPOCH.secs);
        assert!(said.contains(&stamp), "f035: {said}");
        assert!(said.contains("User:   103   Group:   104"), "{said}");
    }
    let line = seen.fat("cmdline.txt");
    assert!(line.contains("cfg80211.ieee80211_regdom=DE"), "f092: {line}");
}

fn every_wish(family: &str) {
    let Some(base) = bases::base(family) else { return };
    if !tools::have(&[
        "e2fsck",
        "dumpe2fs",
        "fsck.vfat",
        "sfdisk",
        "sgdisk",
        "mcopy",
        "debugfs",
    ]) {
        return;
    }
    let (facts, known) = (facts(&base), known(family));
    let Resolved { edits, notes } = identity_edits(&plan(wishes(true)), &facts).unwrap();
    assert!(
        notes.iter().all(|n| !n.contains("0f0f") && !n.contains("$y$")),
        "{notes:?}"
    );
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.img");
    write_edited(&base, &edits, &out, OutputFormat::Img);
    judge::all(&out);
    let partitions = judge::partitions(&out);
    let seen = Seen {
        image: &out,
        boot: partitions.iter().find(|p| p.is_boot()).unwrap(),
        root: partitions.iter().find(|p| !p.is_boot()).unwrap(),
        merged: !matches!(family, "hypriot" | "rpi64"),
    };
    accounts(&seen, &base, &known);
    server(&seen, &known, facts.system.ssh.first_boot_keys);
    if known.seeded {
        seeds(&seen, &base);
    } else {
        assert_eq!(seen.cat("/etc/ceil/packages"), "nftables\n", "f053");
    }
    network(&seen, &base, &known);
    rest(&seen, &base, &known);
    // Twice is once: what was made is a base like another.
    let again = Base {
        path: out.clone(),
        ..base.clone()
    };
    let more = identity_edits(&plan(wishes(true)), &self::facts(&again)).unwrap();
    let passwd = more.edits.iter().find_map(|e| match &e.op {
        Op::Put {
            at,
            content: Content::Inline { bytes, .. },
            ..
        } if at.path() == "/etc/passwd" => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    });
    assert_eq!(
        passwd.unwrap_or_else(|| seen.cat("/etc/passwd")),
        seen.cat("/etc/passwd")
    );
}

#[test]
fn f072_the_unit_of_compressed_memory_is_sound() {
    let Some(base) = bases::base("raspios-trixie").filter(|_| tools::have(&["systemd-analyze"])) else {
        return;
    };
    let mut wishes = wishes(false);
    wishes.swap = Some(Swap::Zram(ByteSize(512 << 20)));
    let resolved = identity_edits(&plan(wishes), &facts(&base)).unwrap();
    let unit = resolved
        .edits
        .iter()
        .find_map(|e| match &e.op {
            Op::Put {
                at,
                content: Content::Inline { bytes, .. },
                ..
            } if at.path().ends_with("/ceil-zram.service") => {
                Some(String::from_utf8_lossy(bytes).into_owned())
            }
            _ => None,
        })
        .unwrap();
    // The programs are those of the image.
    let text: String = unit
        .lines()
        .map(|line| {
            match line
                .split_once("=/sbin/")
                .map(|(key, rest)| (key, rest.split_once(' ')))
            {
                Some((key, Some((_, words)))) => format!("{key}=/bin/true {words}\n"),
                _ => format!("{line}\n"),
            }
        })
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ceil-zram.service");
    fs::write(&file, text).unwrap();
    let out = tools::output(tools::command("systemd-analyze").arg("verify").arg(&file));
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success() && !said.contains("ceil-zram"), "{said}");
}

each_family!(every_wish);
