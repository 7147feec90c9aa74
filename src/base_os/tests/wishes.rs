//! Wishes over facts made up here: which mechanism is chosen, and what is refused.

use super::*;
use crate::amend::Accounts;
use crate::plan::{HostKeyFiles, Interface, PasswordHashes, Ssh, Swap, Unit, UnitState, User, Wifi, Wishes};

/// Debian without cloud-init.
pub(super) fn bare() -> BaseFacts {
    let mut facts = facts((Made::new("bootfs"), Made::new("rootfs")));
    facts.system.init = Init::Systemd(Some(252));
    facts.version_codename = "bookworm".to_owned();
    facts.system.accounts = Some(Accounts {
        passwd: "root:x:0:0:root:/root:/bin/bash\npi:x:1000:1000::/home/pi:/bin/bash\n".to_owned(),
        shadow: "root:*:1:0:99999:7:::\npi:*:1:0:99999:7:::\n".to_owned(),
        group: "root:x:0:\nshadow:x:42:\nsudo:x:27:pi\npi:x:1000:\n".to_owned(),
        gshadow: None,
    });
    facts.system.sudo = true;
    facts
}

pub(super) fn with_cloud(mut facts: BaseFacts, version: &str) -> BaseFacts {
    facts.cloud_init = Some(CloudInit {
        version: Some(version.to_owned()),
        seed: Some(Seed::Boot { dir: "/".to_owned() }),
        user_data: None,
        meta_data: None,
    });
    facts
}

pub(super) fn resolve(wishes: Wishes, facts: &BaseFacts, edits: Vec<Edit>) -> Result<Resolved, String> {
    let mut plan = plan(false, edits);
    plan.wishes = wishes;
    plan.epoch = Timestamp::from_secs(1_735_689_600);
    identity_edits(&plan, facts)
}

pub(super) fn wish(change: impl FnOnce(&mut Wishes)) -> Wishes {
    let mut wishes = Wishes::default();
    change(&mut wishes);
    wishes
}

/// Each edit in one line; the text of files after `=`.
pub(super) fn shown(resolved: &Resolved) -> Vec<String> {
    let text = |content: &Content| match content {
        Content::Inline { bytes, .. } => show(bytes),
        Content::File { .. } => String::new(),
    };
    resolved
        .edits
        .iter()
        .filter(|edit| !is_record(edit))
        .map(|edit| match &edit.op {
            Op::Put { at, content, .. } => format!("{at}={}", text(content)),
            Op::Append { at, content } => format!("{at}+={}", text(content)),
            Op::Symlink { at, to, .. } => format!("{at}->{to}"),
            Op::Remove { at, .. } => format!("rm {at}"),
            Op::Dir { at, attributes } => format!("{at}/ {:?}", attributes.owner.map(|o| o.uid)),
            Op::KernelArgs { add, .. } => format!("args {add:?}"),
            Op::Fstab { mount, .. } => format!("fstab {mount}"),
            other => panic!("{other:?}"),
        })
        .collect()
}

pub(super) fn has(resolved: &Resolved, line: &str) -> bool {
    shown(resolved).iter().any(|l| l == line)
}

pub(super) fn content_of<'r>(resolved: &'r Resolved, path: &str) -> Option<(&'r Content, String)> {
    resolved.edits.iter().find_map(|edit| match &edit.op {
        Op::Put { at, content, .. } if at.to_string() == path => {
            let Content::Inline { bytes, .. } = content else {
                return None;
            };
            Some((content, show(bytes)))
        }
        _ => None,
    })
}

pub(super) fn user(name: &str, password: bool) -> User {
    User {
        name: name.to_owned(),
        gecos: Some("A \"B\" 'C'".to_owned()),
        groups: vec!["sudo".to_owned(), "docker".to_owned()],
        sudo: Some("ALL=(ALL) NOPASSWD:ALL".to_owned()),
        shell: "/bin/bash".to_owned(),
        ssh_keys: vec!["ssh-ed25519 AAAA a@b".to_owned()],
        password: password.then(|| PasswordHashes {
            sha512_crypt: "$6$six".to_owned(),
            yescrypt: "$y$yes".to_owned(),
        }),
    }
}

fn wifi() -> Wifi {
    Wifi {
        ssid: "net".to_owned(),
        psk: Some("ab".repeat(32)),
        country: "DE".to_owned(),
        hidden: false,
        power_save: false,
    }
}

pub(super) fn interfaces(wireless: bool) -> Vec<Interface> {
    let Address::Static(fixed) = plan(true, Vec::new()).identity.address else {
        panic!("a fixed address")
    };
    let mut all = vec![Interface {
        name: "eth0".to_owned(),
        address: Address::Static(fixed),
        wifi: None,
        optional: false,
    }];
    if wireless {
        all.push(Interface {
            name: "wlan0".to_owned(),
            address: Address::Dhcp,
            wifi: Some(wifi()),
            optional: true,
        });
    }
    all
}

pub(super) fn everything() -> Wishes {
    wish(|w| {
        w.users = vec![user("admin", true), user("other", false)];
        w.ssh = Ssh {
            enabled: None,
            password_login: Some(false),
            host_key: Some(HostKeyFiles {
                private: Content::secret(b"KEY"),
                public: "ssh-ed25519 AAAA".to_owned(),
            }),
        };
        w.locale = Some("en_GB.UTF-8".to_owned());
        w.packages = vec!["nftables".to_owned(), "jq=1.6-2".to_owned()];
        w.upgrade = Some(true);
        w.interfaces = interfaces(false);
    })
}

// rows: F050
#[test]
fn f048_accounts_go_to_cloud_init_or_into_the_files() {
    let wishes = wish(|w| w.users = vec![user("admin", true)]);
    let resolved = resolve(wishes.clone(), &with_cloud(bare(), "25.2"), Vec::new()).expect("resolved");
    let (content, text) = content_of(&resolved, "boot:/user-data").expect("user-data");
    assert!(content.is_secret());
    assert!(
        text.contains("    lock_passwd: false\n    hashed_passwd: \"$y$yes\"\n"),
        "{text}"
    );
    assert!(!shown(&resolved).iter().any(|l| l.contains("/etc/passwd")));

    let resolved = resolve(wishes, &bare(), Vec::new()).expect("resolved");
    assert!(has(
        &resolved,
        "root:/etc/sudoers.d/90-ceil-admin=admin ALL=(ALL) NOPASSWD:ALL\n"
    ));
    assert!(has(
        &resolved,
        "root:/home/admin/.ssh/authorized_keys=ssh-ed25519 AAAA a@b\n"
    ));
    assert!(has(&resolved, "root:/home/admin/ Some(1001)"));
    let (content, text) = content_of(&resolved, "root:/etc/shadow").expect("shadow");
    assert!(
        content.is_secret() && text.ends_with("admin:$y$yes:20089:0:99999:7:::\n"),
        "{text}"
    );
    assert!(!format!("{resolved:?}").contains("$y$"));
}

#[test]
fn f048_old_bases_get_the_old_hash_and_key() {
    let mut old = with_cloud(bare(), "0.7.9-2");
    old.version_codename = "stretch".to_owned();
    let resolved = resolve(wish(|w| w.users = vec![user("a", true)]), &old, Vec::new()).expect("resolved");
    let (_, text) = content_of(&resolved, "boot:/user-data").expect("user-data");
    assert!(text.contains("    passwd: \"$6$six\"\n"), "{text}");
}

#[test]
fn f049_known_passwords_are_locked_or_refused() {
    let mut facts = bare();
    if let Some(accounts) = &mut facts.system.accounts {
        accounts.shadow = accounts.shadow.replace("pi:*", "pi:$6$known");
    }
    let error = resolve(wish(|w| w.modules = vec!["x".to_owned()]), &facts, Vec::new()).expect_err("refused");
    assert!(
        error.contains("the account `pi` with a password that everyone knows"),
        "{error}"
    );
    let legacy = wish(|w| w.legacy = true);
    resolve(legacy, &facts, Vec::new()).expect("legacy");
    let resolved = resolve(wish(|w| w.users = vec![user("a", false)]), &facts, Vec::new()).expect("resolved");
    let (_, text) = content_of(&resolved, "root:/etc/shadow").expect("shadow");
    assert!(text.contains("pi:!:") && text.contains("\na:!:"), "{text}");
    let error =
        resolve(wish(|w| w.users = vec![user("pirate", true)]), &facts, Vec::new()).expect_err("refused");
    assert!(
        error.starts_with("user `pirate`: everyone knows this name"),
        "{error}"
    );

    let mut seeded = with_cloud(bare(), "0.7.9-2");
    if let Some(cloud) = &mut seeded.cloud_init {
        cloud.user_data =
            Some("#cloud-config\nusers:\n  - name: pirate\n    plain_text_passwd: x\n".to_owned());
    }
    let error = resolve(wish(|w| w.upgrade = Some(false)), &seeded, Vec::new()).expect_err("refused");
    assert!(error.contains("a password that everyone knows"), "{error}");
    resolve(wish(|w| w.users = vec![user("a", false)]), &seeded, Vec::new()).expect("own users");
}

#[test]
fn users_that_cannot_be_are_refused() {
    let wrong: [fn(&mut User); 5] = [
        |u| u.name = "A B".to_owned(),
        |u| u.ssh_keys = vec!["a\nb".to_owned()],
        |u| u.sudo = Some("ALL\nALL".to_owned()),
        |u| u.shell = "bash".to_owned(),
        |u| u.groups = vec!["a:b".to_owned()],
    ];
    for (i, change) in wrong.into_iter().enumerate() {
        let mut one = user("admin", false);
        change(&mut one);
        assert!(
            resolve(wish(|w| w.users = vec![one]), &bare(), Vec::new()).is_err(),
            "{i}"
        );
    }
    let own = Edit {
        op: Op::Put {
            at: "/etc/passwd".parse().expect("path"),
            content: Content::inline(b""),
            attributes: crate::plan::Attributes::default(),
            xattrs: Vec::new(),
            sparse: false,
        },
        origin: Origin {
            file: "x".to_owned(),
            line: 1,
        },
    };
    let wishes = wish(|w| w.users = vec![user("admin", false)]);
    assert!(resolve(wishes, &bare(), vec![own]).is_err());
}

#[test]
fn f033_the_ssh_server_is_enabled_by_its_link() {
    let ssh = |enabled| wish(|w| w.ssh.enabled = enabled);
    let mut facts = bare();
    assert!(resolve(ssh(Some(true)), &facts, Vec::new()).is_err());
    facts.system.units.insert(
        "ssh.service".to_owned(),
        "/lib/systemd/system/ssh.service".to_owned(),
    );
    let link =
        "root:/etc/systemd/system/multi-user.target.wants/ssh.service->/lib/systemd/system/ssh.service";
    assert!(has(
        &resolve(ssh(Some(true)), &facts, Vec::new()).expect("on"),
        link
    ));
    let off = resolve(ssh(Some(false)), &facts, Vec::new()).expect("off");
    assert!(has(&off, "root:/etc/systemd/system/ssh.service->/dev/null"));
    facts.system.ssh.enabled = true;
    assert!(!has(
        &resolve(ssh(Some(true)), &facts, Vec::new()).expect("on"),
        link
    ));
}

#[test]
fn f051_f052_options_of_sshd_go_where_it_reads_them() {
    let mut facts = bare();
    facts.network = NetworkManager::Networkd;
    facts.system.ssh.config = Some("Include /etc/ssh/sshd_config.d/*.conf\n".to_owned());
    let resolved = resolve(everything(), &facts, Vec::new()).expect("resolved");
    assert!(has(
        &resolved,
        "root:/etc/ssh/sshd_config.d/10-ceil.conf=PasswordAuthentication no\nChallengeResponseAuthentication no\nHostKey /etc/ssh/ssh_host_ed25519_key\n"
    ));
    assert!(has(
        &resolved,
        "root:/etc/ssh/ssh_host_ed25519_key.pub=ssh-ed25519 AAAA\n"
    ));
    assert!(
        content_of(&resolved, "root:/etc/ssh/ssh_host_ed25519_key")
            .expect("key")
            .0
            .is_secret()
    );

    facts.system.ssh.config = Some("UsePAM yes\nPasswordAuthentication yes\n".to_owned());
    facts.system.ssh.first_boot_keys = true;
    facts
        .system
        .units
        .insert("regenerate_ssh_host_keys.service".to_owned(), "/lib/x".to_owned());
    let resolved = resolve(everything(), &facts, Vec::new()).expect("resolved");
    assert!(has(
        &resolved,
        "root:/etc/ssh/sshd_config=PasswordAuthentication no\nChallengeResponseAuthentication no\nHostKey /etc/ssh/ceil_host_ed25519_key\nUsePAM yes\n"
    ));
    assert!(has(
        &resolved,
        "root:/etc/systemd/system/regenerate_ssh_host_keys.service->/dev/null"
    ));
    assert!(content_of(&resolved, "root:/etc/ssh/ceil_host_ed25519_key").is_some());
}

#[test]
fn f062_p01_machine_ids_are_cleared() {
    let wishes = || wish(|w| w.legacy = true);
    for (id, version, dbus, expected) in [
        (Some("uninitialized\n"), Some(257), DbusId::Link, vec![]),
        (Some(""), Some(252), DbusId::Missing, vec![]),
        (None, Some(252), DbusId::Missing, vec![]),
        (
            Some("4f1c\n"),
            Some(252),
            DbusId::Link,
            vec!["root:/etc/machine-id=uninitialized\n"],
        ),
        (
            Some("4f1c\n"),
            Some(232),
            DbusId::Link,
            vec!["root:/etc/machine-id="],
        ),
        (
            Some("4f1c\n"),
            None,
            DbusId::Missing,
            vec!["root:/etc/machine-id="],
        ),
        (
            Some(""),
            Some(232),
            DbusId::File,
            vec![
                "rm root:/var/lib/dbus/machine-id",
                "root:/var/lib/dbus/machine-id->/etc/machine-id",
            ],
        ),
    ] {
        let mut facts = bare();
        facts.system.machine_id = id.map(str::to_owned);
        facts.system.init = Init::Systemd(version);
        facts.system.dbus_id = dbus;
        let resolved = resolve(wishes(), &facts, Vec::new()).expect("resolved");
        assert_eq!(shown(&resolved)[2..], expected, "{id:?} {version:?}");
    }
    // The shared one is cleared also for a node without wishes, and cannot be put.
    let root = Made::new("root")
        .file("/etc/machine-id", "9989a26f06984d6dbadc01770f018e3b\n")
        .file("/var/lib/dbus/machine-id", "9989a26f06984d6dbadc01770f018e3b\n");
    let facts = facts((Made::new("boot"), root));
    let resolved = resolve(Wishes::default(), &facts, Vec::new()).expect("resolved");
    assert!(has(&resolved, "root:/etc/machine-id="));
    assert!(has(&resolved, "root:/var/lib/dbus/machine-id->/etc/machine-id"));
    let own = Edit {
        op: Op::Put {
            at: "/etc/machine-id".parse().expect("path"),
            content: Content::inline(b"9989a26f06984d6dbadc01770f018e3b\n"),
            attributes: crate::plan::Attributes::default(),
            xattrs: Vec::new(),
            sparse: false,
        },
        origin: Origin {
            file: "x".to_owned(),
            line: 1,
        },
    };
    assert!(resolve(Wishes::default(), &bare(), vec![own]).is_err());
}

#[test]
fn f070_p10_p56_swap_is_off_by_every_mechanism() {
    let mut facts = bare();
    let off = |facts: &BaseFacts| {
        shown(&resolve(wish(|w| w.swap = Some(Swap::Off)), facts, Vec::new()).expect("off"))
    };
    assert_eq!(off(&facts).len(), 2, "nothing to do");
    facts.system.swap.dphys = Some("CONF_SWAPSIZE=100\n".to_owned());
    facts.system.swap.rpi_swap = true;
    facts.system.swap.generators = vec!["rpi-swap-generator".to_owned()];
    facts.system.swap.fstab = vec!["none".to_owned()];
    let lines = off(&facts);
    for line in [
        "root:/etc/dphys-swapfile=CONF_SWAPSIZE=0\n",
        "root:/etc/systemd/system/dphys-swapfile.service->/dev/null",
        "root:/etc/rpi/swap.conf.d/90-ceil.conf=[Main]\nMechanism=none\n",
        "root:/etc/systemd/system-generators/rpi-swap-generator->/dev/null",
        "root:/etc/systemd/system/dev-zram0.swap->/dev/null",
        "fstab none",
    ] {
        assert!(lines.iter().any(|l| l == line), "{line}: {lines:?}");
    }
    let limited = resolve(wish(|w| w.swap = Some(Swap::Limited)), &facts, Vec::new()).expect("f071");
    assert_eq!(shown(&limited).len(), 2);
}

#[test]
fn f072_zram_has_a_unit_and_needs_its_module() {
    let zram = || wish(|w| w.swap = Some(Swap::Zram(ByteSize(512 << 20))));
    let mut facts = bare();
    facts.system.swap.rpi_swap = true;
    let resolved = resolve(zram(), &facts, Vec::new()).expect("resolved");
    let (_, unit) = content_of(&resolved, "root:/etc/systemd/system/ceil-zram.service").expect("unit");
    assert!(
        unit.contains("ExecStart=/sbin/zramctl --size 536870912 /dev/zram0\n"),
        "{unit}"
    );
    assert!(has(
        &resolved,
        "root:/etc/systemd/system/multi-user.target.wants/ceil-zram.service->/etc/systemd/system/ceil-zram.service"
    ));
    assert!(!has(
        &resolved,
        "root:/etc/systemd/system/dev-zram0.swap->/dev/null"
    ));
    facts.system.kernels = vec![Kernel {
        release: "4.4.50".to_owned(),
        modules: Some(std::collections::BTreeSet::new()),
    }];
    assert!(resolve(zram(), &facts, Vec::new()).is_err());
}

// rows: P30
#[test]
fn f073_f075_f076_parameters_and_modules() {
    let wishes = |modules: &[&str]| {
        wish(|w| {
            w.sysctls = vec![("net.ipv4.ip_forward".to_owned(), "1".to_owned())];
            w.modules = modules.iter().map(|m| (*m).to_owned()).collect();
        })
    };
    let kernel = |release: &str, modules: &[&str]| Kernel {
        release: release.to_owned(),
        modules: Some(modules.iter().map(|m| (*m).to_owned()).collect()),
    };
    let mut facts = bare();
    let resolved = resolve(wishes(&["br_netfilter", "overlay"]), &facts, Vec::new()).expect("resolved");
    assert!(has(
        &resolved,
        "root:/etc/sysctl.d/90-ceil.conf=net.ipv4.ip_forward = 1\n"
    ));
    assert!(has(
        &resolved,
        "root:/etc/modules-load.d/ceil.conf=br_netfilter\noverlay\n"
    ));
    facts.system.kernels = vec![
        kernel("6.1-v7", &["overlay"]),
        kernel("6.1-v8", &["overlay", "dm_snapshot"]),
    ];
    assert!(resolve(wishes(&["overlay"]), &facts, Vec::new()).is_ok());
    let resolved = resolve(wishes(&["dm-snapshot"]), &facts, Vec::new()).expect("one has it");
    assert!(
        resolved
            .notes
            .iter()
            .any(|n| n.contains("6.1-v7 lacks the module `dm-snapshot`"))
    );
    let error = resolve(wishes(&["vxlan"]), &facts, Vec::new()).expect_err("refused");
    assert!(error.contains("`vxlan` (6.1-v7, 6.1-v8)"), "{error}");
    let mut with_package = wishes(&["vxlan"]);
    with_package.packages = vec!["linux-modules-extra-raspi".to_owned()];
    assert!(resolve(with_package, &facts, Vec::new()).is_ok());
    assert!(resolve(wishes(&["a b"]), &facts, Vec::new()).is_err());
}

#[test]
fn f078_the_variant_of_iptables_follows_its_version() {
    for (version, legacy) in [
        (Some("1.8.2-4"), Some(true)),
        (Some("1.8.9-2"), Some(false)),
        (None, None),
    ] {
        let mut facts = bare();
        facts.system.packages = version
            .map(|version| ("iptables".to_owned(), version.to_owned()))
            .into_iter()
            .collect();
        assert_eq!(facts.system.wants_iptables_legacy(), legacy, "{version:?}");
    }
}

#[test]
fn units_are_found_in_the_base_or_among_the_edits() {
    let wishes = |name: &str, state| {
        wish(|w| {
            w.units = vec![Unit {
                name: name.to_owned(),
                state,
            }];
        })
    };
    let enabled = || UnitState::Enabled("multi-user.target".to_owned());
    let mut facts = bare();
    assert!(resolve(wishes("k3s.service", enabled()), &facts, Vec::new()).is_err());
    let own = Edit {
        op: Op::Put {
            at: "root:/etc/systemd/system/k3s@.service".parse().expect("path"),
            content: Content::inline(b""),
            attributes: crate::plan::Attributes::default(),
            xattrs: Vec::new(),
            sparse: false,
        },
        origin: Origin {
            file: "x".to_owned(),
            line: 1,
        },
    };
    let resolved = resolve(wishes("k3s@a.service", enabled()), &facts, vec![own]).expect("among the edits");
    assert!(has(
        &resolved,
        "root:/etc/systemd/system/multi-user.target.wants/k3s@a.service->/etc/systemd/system/k3s@.service"
    ));
    facts
        .system
        .units
        .insert("x.timer".to_owned(), "/lib/systemd/system/x.timer".to_owned());
    let resolved = resolve(wishes("x.timer", enabled()), &facts, Vec::new()).expect("in the base");
    assert!(has(
        &resolved,
        "root:/etc/systemd/system/multi-user.target.wants/x.timer->/lib/systemd/system/x.timer"
    ));
    let resolved = resolve(wishes("any.service", UnitState::Masked), &facts, Vec::new()).expect("masked");
    assert!(has(&resolved, "root:/etc/systemd/system/any.service->/dev/null"));
    assert!(resolve(wishes("../x.service", UnitState::Masked), &facts, Vec::new()).is_err());
    facts.system.init = Init::Other;
    assert!(resolve(wishes("any.service", UnitState::Masked), &facts, Vec::new()).is_err());
}

#[test]
fn f047_f046_zone_locale_and_keyboard() {
    let wishes = |zone: &str| {
        wish(|w| {
            w.timezone = Some(zone.to_owned());
            w.locale = Some("en_GB.UTF-8".to_owned());
            w.keyboard = Some("gb".to_owned());
        })
    };
    let mut facts = bare();
    facts.system.zones.insert("Europe/Berlin".to_owned());
    facts.system.locale_gen = Some("# en_GB.UTF-8 UTF-8\n".to_owned());
    facts.system.locale = Some(("/etc/locale.conf".to_owned(), "LANG=C.UTF-8\n".to_owned()));
    let resolved = resolve(wishes("Europe/Berlin"), &facts, Vec::new()).expect("resolved");
    for line in [
        "root:/etc/timezone=Europe/Berlin\n",
        "root:/etc/localtime->/usr/share/zoneinfo/Europe/Berlin",
        "root:/etc/locale.conf=LANG=en_GB.UTF-8\n",
        "root:/etc/locale.gen=en_GB.UTF-8 UTF-8\n",
        "root:/etc/ceil/locale=en_GB.UTF-8\n",
    ] {
        assert!(has(&resolved, line), "{line}");
    }
    let (_, keyboard) = content_of(&resolved, "root:/etc/default/keyboard").expect("keyboard");
    assert!(keyboard.ends_with("XKBLAYOUT=\"gb\"\n"));
    let error = resolve(wishes("Europe/Nowhere"), &facts, Vec::new()).expect_err("refused");
    assert!(
        error.contains("no time zone `Europe/Nowhere`") && error.contains("`Europe/Berlin`"),
        "{error}"
    );
    assert!(resolve(wishes("../../etc/passwd"), &facts, Vec::new()).is_err());
    let seeded = with_cloud(facts, "25.2");
    let resolved = resolve(wishes("Europe/Berlin"), &seeded, Vec::new()).expect("resolved");
    assert!(
        content_of(&resolved, "boot:/user-data")
            .expect("user-data")
            .1
            .contains("locale: \"en_GB.UTF-8\"\n")
    );
    // cloud-init generates no locale that is the system's already, and Debian's program takes it from this file alone.
    assert!(has(&resolved, "root:/etc/locale.gen=en_GB.UTF-8 UTF-8\n"));
    assert!(content_of(&resolved, "root:/etc/locale.conf").is_none());
}

#[test]
fn f035_the_clock_is_not_older_than_the_build() {
    let wishes = || {
        wish(|w| {
            w.legacy = true;
            w.upgrade = Some(false);
        })
    };
    let mut facts = bare();
    for (stock, expected) in [
        ("2024-03-15 15:00:00\n", true),
        ("2026-01-01 00:00:00\n", false),
        ("", true),
    ] {
        facts.system.clock.fake_hwclock = Some((stock.to_owned(), false));
        let resolved = resolve(wishes(), &facts, Vec::new()).expect("resolved");
        assert_eq!(
            has(&resolved, "root:/etc/fake-hwclock.data=2025-01-01 00:00:00\n"),
            expected,
            "{stock}"
        );
    }
    facts.system.clock.fake_hwclock = Some((String::new(), true));
    facts.system.clock.timesyncd = true;
    let resolved = resolve(wishes(), &facts, Vec::new()).expect("resolved");
    assert!(has(&resolved, "boot:/fake-hwclock.data=2025-01-01 00:00:00\n"));
    let stamped = resolved.edits.iter().any(|e| {
        matches!(&e.op, Op::Put { at, attributes, .. }
            if at.path() == "/var/lib/systemd/timesync/clock" && attributes.mtime == Some(Timestamp::from_secs(1_735_689_600)))
    });
    assert!(stamped);
}

// rows: F019
#[test]
fn f053_packages_wait_for_the_first_boot() {
    let mut facts = bare();
    facts.network = NetworkManager::Networkd;
    let resolved = resolve(everything(), &facts, Vec::new()).expect("resolved");
    assert!(has(&resolved, "root:/etc/ceil/packages=nftables\njq=1.6-2\n"));
    assert!(has(&resolved, "root:/etc/ceil/upgrade=yes\n"), "f054");
    assert!(resolve(wish(|w| w.packages = vec!["-y".to_owned()]), &bare(), Vec::new()).is_err());
}
