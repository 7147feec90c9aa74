//! Every mistake and the words that answer it, exactly.

use super::*;

#[test]
fn mistakes_of_a_cluster_file() {
    let cases = [
        (
            "",
            "cluster.yaml:1:1: expected a cluster: a map with `cluster` and `nodes`, found nothing",
        ),
        (
            "nodes: []",
            "cluster.yaml:1:1: the key `cluster` is missing: a map with the cluster's `name`",
        ),
        (
            "cluster: {name: ceil}\nnodes: []\n",
            "cluster.yaml:2:8: nodes: the list is empty; a cluster has a node at least",
        ),
        (
            "cluster: {name: ceil}\n",
            "cluster.yaml:1:1: the key `nodes` is missing: the list of nodes",
        ),
        (
            "cluster: {name: Ceil}\nnodes: [{name: one, profile: minimal}]\n",
            "cluster.yaml:1:17: cluster.name: `Ceil` is not a host name; use lower-case letters, digits and inner hyphens, 63 characters a label at most",
        ),
        (
            "cluster: {name: ceil, doman: x}\nnodes: [{name: one, profile: minimal}]\n",
            "cluster.yaml:1:23: cluster.doman: unknown key, did you mean `domain`?; the keys here are `name`, `domain`",
        ),
        (
            "clutser: {name: ceil}\n",
            "cluster.yaml:1:1: clutser: unknown key, did you mean `cluster`?; the keys here are `cluster`, `network`, `kubernetes`, `registries`, `wifi`, `defaults`, `profiles`, `epoch`, `nodes`",
        ),
        (
            "cluster: {name: ceil}\nnodes:\n  - name: one\n    hostnam: a\n    profile: minimal\n",
            "cluster.yaml:4:5: nodes[0].hostnam: unknown key, did you mean `hostname`?",
        ),
        (
            "cluster: {name: ceil}\nnodes:\n  - name: one\n    zzz: a\n    profile: minimal\n",
            "cluster.yaml:4:5: nodes[0].zzz: unknown key; the keys here are `name`, `hostname`, `profile`, `address`, `matrix`, `count`, `description`, `base`, `kernel-args`, `config-txt`, `edits`, `output`, `reserve`, `role`, `board`, `arch`, `interfaces`, `timezone`, `locale`, `keyboard`, `users`, `ssh`, `packages`, `debs`, `upgrade`, `swap`, `sysctl`, `modules`, `units`, `overlays`, `first-boot`, `artifacts`, `images`, `addons`, `labels`, `taints`, `disks`, `firewall`, `services`, `kubelet`, `cluster`, `secrets`, `legacy`, `accept`",
        ),
        (
            "cluster: {name: ceil}\nnodes:\n  - name: one\n  - name: two\n    profile: minimal\n",
            "cluster.yaml:3:5: nodes[0]: the key `profile` is missing: the profile to build it from",
        ),
        (
            "cluster: {name: ceil}\nnodes:\n  - name: one\n    profile:\n",
            "cluster.yaml:4:12: nodes[0].profile: the key has no value; give the profile to build it from",
        ),
        (
            "cluster: {name: ceil}\nnodes:\n  - {name: one, profile: minimal}\n  - {name: one, profile: minimal}\n",
            "cluster.yaml:4:12: nodes[1].name: the name `one` is taken by the node on line 3",
        ),
        (
            "cluster: {name: ceil}\nnodes:\n  - {name: one, profile: minimal}\n  - {name: two, hostname: one, profile: minimal}\n",
            "cluster.yaml:4:27: nodes[1].hostname: the host name `one` is taken by the node on line 3",
        ),
        (
            "cluster: {name: ceil}\nnodes: {name: one}\n",
            "cluster.yaml:2:8: nodes: expected a list of nodes, found a map",
        ),
        (
            "cluster: ceil\nnodes: []\n",
            "cluster.yaml:1:10: cluster: expected a map with `name`, found the text `ceil`",
        ),
        (
            "cluster: {name: 12}\nnodes: [{name: one, profile: minimal}]\n",
            "cluster.yaml:1:17: cluster.name: expected a name, found the number `12`; write it in quotes: \"12\"",
        ),
        (
            "cluster: {name: ceil}\ncluster: {name: b}\n",
            "cluster.yaml:2:1: cluster: the key stands twice; the first is on line 1",
        ),
        (
            "cluster: {name: ceil\nnodes: []\n",
            "cluster.yaml:2:6: this is not YAML: while parsing a flow mapping, did not find expected ',' or '}'",
        ),
        (
            "cluster: {name: ceil}\nnodes:\n\t- name: one\n",
            "cluster.yaml:3:2: this is not YAML: tabs disallowed within this context (block indentation)",
        ),
        (
            "cluster: {name: ceil}\n---\nnodes: []\n",
            "cluster.yaml:3:1: a second document begins here; one file holds one document",
        ),
        (
            "cluster: {name: !x ceil}\n",
            "cluster.yaml:1:20: the tag `!x` is not known here",
        ),
        (
            "cluster: {name: ceil}\nepoch: tomorrow\nnodes: [{name: one, profile: minimal}]\n",
            "cluster.yaml:2:8: epoch: `tomorrow` is not a time; write seconds since 1970 or an RFC 3339 date such as `2025-01-01` or `2025-01-01T00:00:00Z`",
        ),
        (
            "cluster: {name: ceil}\nepoch: 1970-01-01\nnodes: [{name: one, profile: minimal}]\n",
            "cluster.yaml:2:8: epoch: the build epoch must lie in the years 1980 to 2107, which FAT can store",
        ),
        (
            "cluster: {name: ceil}\nnodes:\n  - name: one\n    profile: minimal\n    address: 10.0.0.1\n",
            "cluster.yaml:5:14: nodes[0].address: `10.0.0.1` is not an address with its prefix, such as `10.11.0.101/24`",
        ),
        (
            "cluster: {name: ceil}\nnodes:\n  - name: one\n    profile: minimal\n    address: 10.0.0.0/24\n",
            "cluster.yaml:5:14: nodes[0].address: `10.0.0.0/24` is the address of the network itself; give the node's own",
        ),
        (
            "cluster: {name: ceil}\nnodes:\n  - name: one\n    profile: minimal\n    address: 10.0.0.255/24\n",
            "cluster.yaml:5:14: nodes[0].address: `10.0.0.255/24` is the broadcast address of the network; give the node's own",
        ),
        (
            "cluster: {name: ceil}\nnetwork: {gateway: 10.0.1.1}\nnodes:\n  - name: one\n    profile: minimal\n    address: 10.0.0.2/24\n",
            "cluster.yaml:6:14: nodes[0].address: the gateway 10.0.1.1 is not in the network of 10.0.0.2/24, so the node could not reach it",
        ),
        (
            "cluster: {name: ceil}\nnodes:\n  - {name: one, profile: minimal, address: 10.0.0.2/24}\n  - {name: two, profile: minimal, address: 10.0.0.2/24}\n",
            "cluster.yaml:4:44: nodes[1].address: the address `10.0.0.2` is taken by the node on line 3",
        ),
        (
            "cluster: {name: ceil}\nnodes:\n  - {name: one, profile: ../minimal}\n",
            "cluster.yaml:3:26: nodes[0].profile: `../minimal` is not the name of a profile; write it without folder and `.yaml`",
        ),
        (
            "cluster: {name: ceil}\nnodes:\n  - {name: one, profile: minimal, base: 'ftp://x/y.img'}\n",
            "cluster.yaml:3:41: nodes[0].base: `ftp://x/y.img` is not an address; it begins with `https://` or `http://`",
        ),
        (
            "cluster: {name: ceil}\nnodes:\n  - {name: one, profile: minimal, base: {path: a.img, url: 'https://x/'}}\n",
            "cluster.yaml:3:41: nodes[0].base: give only one of `name`, `url` and `path`",
        ),
        (
            "cluster: {name: ceil}\nnodes:\n  - {name: one, profile: minimal, base: {path: a.img, sha256: abc}}\n",
            "cluster.yaml:3:63: nodes[0].base.sha256: `abc` is not a digest; write 64 hex digits (SHA-256) or 128 (SHA-512), with or without `sha256:` or `sha512:`",
        ),
        (
            "cluster: {name: ceil}\nnodes:\n  - {name: one, profile: minimal, address: {cidr: 10.0.0.2/24, interface: 'eth 0'}}\n",
            "cluster.yaml:3:75: nodes[0].address.interface: `eth 0` is not the name of an interface",
        ),
        (
            "a: &a [x, x]\nb: *c\n",
            "cluster.yaml:2:4: this is not YAML: while parsing node, found unknown anchor",
        ),
    ];
    for (text, expected) in cases {
        let error = parse_cluster("cluster.yaml", text).expect_err(text);
        assert_eq!(error.to_string(), expected, "for:\n{text}");
    }
}

#[test]
fn mistakes_of_a_profile() {
    let cases = [
        (
            "kernel_args: {add: [x]}\n",
            "p.yaml:1:1: kernel_args: unknown key, did you mean `kernel-args`?",
        ),
        (
            "kernel-args: {add: x}\n",
            "p.yaml:1:20: kernel-args.add: expected a list of words, found the text `x`",
        ),
        (
            "kernel-args: {add: [a b]}\n",
            "p.yaml:1:21: kernel-args.add[0]: `a b` is not one word of a command line; write one list item for each",
        ),
        (
            "kernel-args: {add: [quiet], remove: [quiet]}\n",
            "p.yaml:1:14: kernel-args: `quiet` is added and removed",
        ),
        (
            "config-txt: {section: all}\n",
            "p.yaml:1:13: config-txt: expected a list such as `[{section: all, set: {gpu_mem: 16}}]`, found a map",
        ),
        (
            "config-txt: [{section: '[all]', set: {a: 1}}]\n",
            "p.yaml:1:24: config-txt[0].section: `[all]` is not a section; write it without brackets, such as `all` or `pi4`",
        ),
        (
            "config-txt: [{set: {gpu_mem: 16}, unset: [gpu_mem]}]\n",
            "p.yaml:1:43: config-txt[0].unset[0]: `gpu_mem` is set and unset",
        ),
        (
            "config-txt: [{set: {gpu_mem: \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}}]\n",
            "p.yaml:1:30: config-txt[0].set.gpu_mem: a line of config.txt has 98 characters at most",
        ),
        (
            "output: {format: zip}\n",
            "p.yaml:1:18: output.format: `zip` is not an output format; write `img`, `img.xz`, `img.zst`, `img.gz` or `none`",
        ),
        (
            "reserve: lots\n",
            "p.yaml:1:10: reserve: `lots` is not a size; write a whole number with a unit, such as `256MiB`, `1GiB` or `10GB`",
        ),
        (
            "base: [a]\n",
            "p.yaml:1:7: base: expected a catalog name, an address or a path, found a list",
        ),
    ];
    for (text, expected) in cases {
        let error = parse_profile("p.yaml", text).expect_err(text);
        assert_eq!(error.to_string(), expected, "for:\n{text}");
    }
}

#[test]
fn mistakes_of_edits() {
    let cases = [
        (
            "edits:\n  - {put: 'root:/etc/motd', content: x, mode: 0644}\n",
            "e.yaml:2:47: edits[0].mode: a mode must stand in quotes, because YAML reads 0644 as a number: write \"0644\"",
        ),
        (
            "edits:\n  - {put: 'root:/etc/motd', content: x, mode: '999'}\n",
            "e.yaml:2:47: edits[0].mode: `999` is not a mode; write three or four octal digits in quotes, such as \"0644\"",
        ),
        (
            "edits:\n  - {put: 'root:/etc/motd', content: x, owner: 'root:root'}\n",
            "e.yaml:2:48: edits[0].owner: `root:root` is not an owner; write numbers as `uid:gid`, such as `0:0` or `1000:1000`",
        ),
        (
            "edits:\n  - {put: 'root:/etc/../motd', content: x}\n",
            "e.yaml:2:11: edits[0].put: `root:/etc/../motd` is not a path in an image: `..` is not allowed",
        ),
        (
            "edits:\n  - {put: 'etc/motd', content: x}\n",
            "e.yaml:2:11: edits[0].put: `etc/motd` is not a path in an image: write it as `boot:/…`, `root:/…` or an absolute path",
        ),
        (
            "edits:\n  - {putt: 'root:/etc/motd', content: x}\n",
            "e.yaml:2:5: edits[0]: `putt` is no kind of edit, did you mean `put`?; the kinds are `put`, `tree`, `dir`, `symlink`, `hardlink`, `rename`, `append`, `remove`, `chmod`, `chown`, `mtime`, `xattr`, `kernel-args`, `config-txt`, `fstab`, `grow`",
        ),
        (
            "edits:\n  - {put: 'root:/etc/motd', contents: x}\n",
            "e.yaml:2:29: edits[0].contents: unknown key, did you mean `content`?; the keys here are `put`, `content`, `from`, `template`, `mode`, `owner`, `mtime`, `xattrs`, `sparse`",
        ),
        (
            "edits:\n  - {put: 'root:/etc/motd'}\n",
            "e.yaml:2:5: edits[0]: the bytes are missing: give one of `content`, `from` and `template`",
        ),
        (
            "edits:\n  - {put: 'root:/etc/motd', content: x, from: y}\n",
            "e.yaml:2:5: edits[0]: give only one of `content`, `from` and `template`",
        ),
        (
            "edits:\n  - {put: 'root:/', content: x}\n",
            "e.yaml:2:11: edits[0].put: `root:/` is the root of the volume; name a place below it",
        ),
        (
            "edits:\n  - {put: 'root:/a', content: x, dir: 'root:/b'}\n",
            "e.yaml:2:5: edits[0]: one edit does one thing, this one has `put`, `dir`; write one list item for each",
        ),
        (
            "edits:\n  - just text\n",
            "e.yaml:2:5: edits[0]: expected an edit, such as `{put: \"root:/etc/motd\", content: hello}`, found the text `just text`",
        ),
        (
            "edits: 5\n",
            "e.yaml:1:8: edits: expected a list of edits, found the number `5`",
        ),
        (
            "- {symlink: 'boot:/x', to: y}\n",
            "e.yaml:1:13: edits[0].symlink: the boot volume is FAT, which has no symlinks",
        ),
        (
            "- {symlink: 'root:/x'}\n",
            "e.yaml:1:3: edits[0]: the key `to` is missing: what it points to",
        ),
        (
            "- {remove: 'root:/x', recursive: yes}\n",
            "e.yaml:1:34: edits[0].recursive: expected `true` or `false`, found the text `yes`",
        ),
        (
            "- {xattr: 'root:/x', set: {color: red}}\n",
            "e.yaml:1:35: edits[0].set.color: `color` is not the name of an extended attribute; it begins with `user.`, `security.`, `trusted.` or `system.posix_acl_` and has 255 bytes at most",
        ),
        (
            "- {xattr: 'root:/x', set: {user.a: '0x123'}}\n",
            "e.yaml:1:36: edits[0].set.user.a: `0x123` is not hexadecimal: write an even number of digits",
        ),
        (
            "- {xattr: 'root:/x'}\n",
            "e.yaml:1:3: edits[0]: nothing to do: give `set` or `remove`",
        ),
        (
            "- {mtime: 'root:/x', to: 2025-02-30}\n",
            "e.yaml:1:26: edits[0].to: `2025-02-30` is not a time; write seconds since 1970 or an RFC 3339 date such as `2025-01-01` or `2025-01-01T00:00:00Z`",
        ),
        (
            "- {grow: {root: 256MiB}}\n",
            "e.yaml:1:17: edits[0].grow.root: `256MiB` is not a growth; write it with a plus, such as \"+256MiB\"",
        ),
        (
            "- {grow: {root: '+1XB'}}\n",
            "e.yaml:1:17: edits[0].grow.root: `1XB` is not a size; write a whole number with a unit, such as `256MiB`, `1GiB` or `10GB`",
        ),
        (
            "- {grow: {}}\n",
            "e.yaml:1:10: edits[0].grow: the size is missing: give `root` or `free`",
        ),
        (
            "- {fstab: {mount: /data, device: LABEL=data}}\n",
            "e.yaml:1:11: edits[0].fstab: the key `type` is missing: the file system type",
        ),
        (
            "- {fstab: {mount: /data, device: LABEL=data, type: ext4, pass: 9}}\n",
            "e.yaml:1:64: edits[0].fstab.pass: expected a number from 0 to 2",
        ),
        (
            "- {chmod: 'root:/x'}\n",
            "e.yaml:1:3: edits[0]: the key `mode` is missing: permission bits in quotes, such as \"0644\"",
        ),
        (
            "- {tree: 'root:/', from: o, owners: [{path: '../x', owner: '0:0'}]}\n",
            "e.yaml:1:45: edits[0].owners[0].path: `../x` is not a pattern below the tree: `..` is not allowed",
        ),
        (
            "- {put: 'boot:/x', content: y, mode: '0644'}\n",
            "e.yaml:1:38: edits[0].mode: the boot volume is FAT, which has no modes",
        ),
        (
            "- {dir: 'boot:/x', owner: '0:0'}\n",
            "e.yaml:1:27: edits[0].owner: the boot volume is FAT, which has no owners",
        ),
        (
            "- {put: 'boot:/x', content: y, xattrs: {user.a: b}}\n",
            "e.yaml:1:40: edits[0].xattrs: the boot volume is FAT, which has no extended attributes",
        ),
    ];
    for (text, expected) in cases {
        let error = parse_edits("e.yaml", text).expect_err(text);
        assert_eq!(error.to_string(), expected, "for:\n{text}");
    }
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let item = format!("*a{}", i - 1);
        text += &format!("a{i}: &a{i} [{}]\n", [item.as_str(); 10].join(", "));
    }
    let error = yaml::parse("bomb.yaml", &text).expect_err("bomb");
    assert!(
        error
            .to_string()
            .ends_with("the file holds more than 100000 values"),
        "{error}"
    );
}

#[test]
fn deep_nesting_is_refused() {
    for text in ["[".repeat(100_000), "{a: ".repeat(50_000), "- ".repeat(50_000)] {
        assert!(yaml::parse("deep.yaml", &text).is_err());
    }
}

#[test]
fn anchors_and_merge_keys_work() {
    let text = "cluster: {name: c}\nnodes:\n  - &n {name: one, profile: minimal}\n  - {<<: *n, name: two}\n";
    let cluster = parse_cluster("cluster.yaml", text).expect("cluster");
    assert_eq!(
        (cluster.nodes[1].name.as_str(), cluster.nodes[1].profile.as_str()),
        ("two", "minimal")
    );
}

proptest::proptest! {
    /// Whatever the text, reading ends with a value or an error.
    #[test]
    fn any_text_is_read_or_refused(text in "([a-z]{1,3}|put|edits|nodes|cluster|[-:{}\\[\\],&*!|>'\"#?<\n\t ]|0x|é|\u{feff}|\r\n){0,60}") {
        let _ = parse_cluster("f", &text);
        let _ = parse_profile("f", &text);
        let _ = parse_edits("f", &text);
        let _ = parse_owners("f", &text);
    }
}
