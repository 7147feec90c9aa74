//! What the 0.7 line knows. Its package lists its modules by hand and has no schema.

/// Keys of the top level that 0.7.9 reads.
const TOP: [&str; 71] = [
    "apt",
    "apt_mirror",
    "apt_preserve_sources_list",
    "apt_proxy",
    "apt_reboot_if_required",
    "apt_sources",
    "apt_update",
    "apt_upgrade",
    "bootcmd",
    "byobu_by_default",
    "ca-certs",
    "chef",
    "chpasswd",
    "cloud_config_modules",
    "cloud_final_modules",
    "cloud_init_modules",
    "datasource",
    "datasource_list",
    "device_aliases",
    "disable_ec2_metadata",
    "disable_root",
    "disable_root_opts",
    "disk_setup",
    "final_message",
    "fqdn",
    "fs_setup",
    "groups",
    "growpart",
    "grub-dpkg",
    "hostname",
    "landscape",
    "launch-index",
    "locale",
    "locale_configfile",
    "lxd",
    "manage_etc_hosts",
    "manage_resolv_conf",
    "mcollective",
    "merge_how",
    "merge_type",
    "migrate",
    "mount_default_fields",
    "mounts",
    "no_ssh_fingerprints",
    "ntp",
    "output",
    "package_reboot_if_required",
    "package_update",
    "package_upgrade",
    "packages",
    "password",
    "phone_home",
    "power_state",
    "preserve_hostname",
    "puppet",
    "random_seed",
    "resize_rootfs",
    "resolv_conf",
    "rsyslog",
    "runcmd",
    "salt_minion",
    "ssh_authorized_keys",
    "ssh_deletekeys",
    "ssh_genkeytypes",
    "ssh_import_id",
    "ssh_keys",
    "ssh_pwauth",
    "swap",
    "system_info",
    "timezone",
    "users",
];

/// Two more of the top level.
const MORE: [&str; 2] = ["user", "write_files"];

/// Keys of an entry of `users`.
const USER: [&str; 21] = [
    "expiredate",
    "gecos",
    "groups",
    "homedir",
    "inactive",
    "lock-passwd",
    "lock_passwd",
    "name",
    "no_create_home",
    "no_log_init",
    "no_user_group",
    "passwd",
    "plain_text_passwd",
    "primary_group",
    "selinux_user",
    "shell",
    "snapuser",
    "ssh_authorized_keys",
    "ssh_import_id",
    "sudo",
    "system",
];

/// Keys of an entry of `users` that came between 0.7.6 and 0.7.9.
const USER_079: [&str; 2] = ["hashed_passwd", "uid"];

/// Keys of an entry of `write_files`.
const FILE: [&str; 5] = ["content", "encoding", "owner", "path", "permissions"];

/// Keys below `chpasswd`.
const CHPASSWD: [&str; 2] = ["expire", "list"];

/// Whether the 0.7 line reads a key, by the list it stands in; `later` from 0.7.9 on.
pub(super) fn knows(list: &str, key: &str, later: bool) -> bool {
    match list {
        "" => TOP.contains(&key) || MORE.contains(&key),
        "users" | "user" => USER.contains(&key) || (later && USER_079.contains(&key)),
        "write_files" => FILE.contains(&key),
        "chpasswd" => CHPASSWD.contains(&key),
        _ => true,
    }
}

/// Keys with the release that they came with, for the releases in between.
pub(super) const SINCE: [(&str, &str, [u32; 2]); 9] = [
    ("", "snap", [18, 2]),
    ("", "keyboard", [22, 2]),
    ("", "ca_certs", [22, 3]),
    ("", "ansible", [22, 3]),
    ("", "wireguard", [22, 3]),
    ("chpasswd", "users", [22, 3]),
    ("write_files", "defer", [21, 3]),
    ("write_files", "source", [24, 3]),
    ("", "rpi", [25, 2]),
];
