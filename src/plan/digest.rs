use crate::values::{ByteSize, Digest, DigestKind, Hasher, Timestamp, shown_url};

use super::{
    Address, Attributes, BasePlace, BaseRef, Edit, GrowRule, Op, Program, Swap, UnitState, Wishes, Xattr,
};

/// What decides the bytes of a node's image.
#[derive(Debug, Clone, Copy)]
pub struct DigestParts<'a> {
    /// Name of the cluster.
    pub cluster: &'a str,
    /// Name of the node.
    pub node: &'a str,
    /// Its host name.
    pub hostname: &'a str,
    /// Domain of the cluster.
    pub domain: Option<&'a str>,
    /// Its address.
    pub address: &'a Address,
    /// What the base is asked for.
    pub wishes: &'a Wishes,
    /// The base.
    pub base: &'a BaseRef,
    /// The programs.
    pub programs: &'a [Program],
    /// The edits.
    pub edits: &'a [Edit],
    /// Space to be kept free.
    pub reserve: ByteSize,
    /// The build epoch.
    pub epoch: Timestamp,
}

/// SHA-256 over a serialisation in which every field has its length or a tag in front, so that no two plans meet.
///
/// Payloads enter by digest and length, bases by digest where one is given. Host paths, line numbers and the
/// output format stay out: the same wish has the same digest on every machine.
#[must_use]
pub fn plan_digest(parts: &DigestParts<'_>) -> Digest {
    let mut canon = Canon(Hasher::new(DigestKind::Sha256));
    canon.text("ceil-img plan 1");
    canon.text(parts.cluster);
    canon.text(parts.node);
    canon.text(parts.hostname);
    canon.option(parts.domain, Canon::text);
    canon.address(parts.address);
    canon.wishes(parts.wishes);
    canon.base(parts.base);
    canon.programs(parts.programs);
    canon.number(parts.reserve.0);
    canon.time(parts.epoch);
    canon.number(parts.edits.len() as u64);
    for edit in parts.edits {
        canon.op(&edit.op);
    }
    canon.0.finish()
}

struct Canon(Hasher);

impl Canon {
    fn number(&mut self, n: u64) {
        self.0.update(&n.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn shown(&mut self, value: &impl std::fmt::Display) {
        self.text(&value.to_string());
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.number(u64::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn texts(&mut self, texts: &[String]) {
        self.number(texts.len() as u64);
        for text in texts {
            self.text(text);
        }
    }

    fn time(&mut self, time: Timestamp) {
        self.0.update(&time.secs.to_le_bytes());
        self.number(u64::from(time.nanos));
    }

    fn address(&mut self, address: &Address) {
        self.shown(address);
        if let Address::Static(fixed) = address {
            self.text(&fixed.interface);
            self.option(fixed.gateway, |c, ip| c.shown(&ip));
            self.number(fixed.dns.len() as u64);
            for ip in &fixed.dns {
                self.shown(ip);
            }
        }
    }

    /// Nothing of it for a node without programs.
    fn programs(&mut self, programs: &[Program]) {
        if programs.is_empty() {
            return;
        }
        self.text("programs");
        self.number(programs.len() as u64);
        for program in programs {
            self.text(&program.name);
            self.text(&program.version);
            self.text(program.arch.word());
            self.option(program.sha256.as_ref(), Self::shown);
            self.texts(&program.to);
        }
    }

    /// Nothing of it for a node that wishes nothing.
    fn wishes(&mut self, wishes: &Wishes) {
        if *wishes == Wishes::default() {
            return;
        }
        self.text("wishes");
        self.number(wishes.users.len() as u64);
        for user in &wishes.users {
            self.text(&user.name);
            self.option(user.gecos.as_deref(), Self::text);
            self.texts(&user.groups);
            self.option(user.sudo.as_deref(), Self::text);
            self.text(&user.shell);
            self.texts(&user.ssh_keys);
            self.option(user.password.as_ref(), |c, p| c.text(&p.sha512_crypt));
        }
        let ssh = &wishes.ssh;
        self.option(ssh.enabled, |c, on| c.number(u64::from(on)));
        self.option(ssh.password_login, |c, on| c.number(u64::from(on)));
        self.option(ssh.host_key.as_ref(), |c, key| {
            c.shown(key.private.digest());
            c.text(&key.public);
        });
        for word in [&wishes.timezone, &wishes.locale, &wishes.keyboard] {
            self.option(word.as_deref(), Self::text);
        }
        self.number(wishes.interfaces.len() as u64);
        for interface in &wishes.interfaces {
            self.text(&interface.name);
            self.address(&interface.address);
            self.number(u64::from(interface.optional));
            self.option(interface.wifi.as_ref(), |c, wifi| {
                c.text(&wifi.ssid);
                c.option(wifi.psk.as_deref(), Self::text);
                c.text(&wifi.country);
                c.number(u64::from(wifi.hidden));
                c.number(u64::from(wifi.power_save));
            });
        }
        self.number(wishes.hosts.len() as u64);
        for host in &wishes.hosts {
            self.shown(&host.ip);
            self.number(host.names.len() as u64);
            for name in &host.names {
                self.text(name.as_str());
            }
        }
        self.texts(&wishes.packages);
        self.option(wishes.upgrade, |c, on| c.number(u64::from(on)));
        self.option(wishes.swap, |c, swap| match swap {
            Swap::Off => c.text("off"),
            Swap::Limited => c.text("limited"),
            Swap::Zram(size) => c.number(size.0),
        });
        self.number(wishes.sysctls.len() as u64);
        for (key, value) in &wishes.sysctls {
            self.text(key);
            self.text(value);
        }
        self.texts(&wishes.modules);
        self.number(wishes.units.len() as u64);
        for unit in &wishes.units {
            self.text(&unit.name);
            match &unit.state {
                UnitState::Enabled(target) => self.text(target),
                UnitState::Masked => self.text("masked"),
            }
        }
        self.number(u64::from(wishes.legacy));
    }

    fn base(&mut self, base: &BaseRef) {
        if let Some(digest) = base
            .raw_sha256
            .as_ref()
            .or(base.sha256.as_ref())
            .or(base.sha512.as_ref())
        {
            self.text("digest");
            return self.shown(digest);
        }
        match &base.place {
            BasePlace::Name(name) => {
                self.text("name");
                self.text(name);
            }
            BasePlace::Url(url) => {
                self.text("url");
                // A new password is not another image.
                self.text(&shown_url(url));
            }
            BasePlace::Path(_) => self.text("path"),
        }
    }

    fn attributes(&mut self, attributes: &Attributes) {
        self.option(attributes.mode, |c, mode| c.shown(&mode));
        self.option(attributes.owner, |c, owner| c.shown(&owner));
        self.option(attributes.mtime, Self::time);
    }

    fn xattrs(&mut self, xattrs: &[Xattr]) {
        self.number(xattrs.len() as u64);
        for xattr in xattrs {
            self.text(&xattr.name);
            self.option(xattr.value.as_deref(), Self::bytes);
        }
    }

    fn op(&mut self, op: &Op) {
        self.text(op.word());
        match op {
            Op::Put {
                at,
                content,
                attributes,
                xattrs,
                sparse,
            } => {
                self.shown(at);
                self.number(content.len());
                self.shown(content.digest());
                self.attributes(attributes);
                self.xattrs(xattrs);
                self.number(u64::from(*sparse));
            }
            Op::Dir { at, attributes } => {
                self.shown(at);
                self.attributes(attributes);
            }
            Op::Symlink { at, to, attributes } => {
                self.shown(at);
                self.text(to);
                self.attributes(attributes);
            }
            Op::Hardlink { at, to } => {
                self.shown(at);
                self.shown(to);
            }
            Op::Rename { from, to } => {
                self.shown(from);
                self.shown(to);
            }
            Op::Append { at, content } => {
                self.shown(at);
                self.number(content.len());
                self.shown(content.digest());
            }
            Op::Remove {
                at,
                recursive,
                if_exists,
            } => {
                self.shown(at);
                self.number(u64::from(*recursive));
                self.number(u64::from(*if_exists));
            }
            Op::Chmod { at, mode } => {
                self.shown(at);
                self.shown(mode);
            }
            Op::Chown { at, owner } => {
                self.shown(at);
                self.shown(owner);
            }
            Op::Mtime { at, mtime } => {
                self.shown(at);
                self.time(*mtime);
            }
            Op::Xattrs { at, xattrs } => {
                self.shown(at);
                self.xattrs(xattrs);
            }
            Op::KernelArgs { add, remove } => {
                self.texts(add);
                self.texts(remove);
            }
            Op::ConfigTxt { section, set, unset } => {
                self.text(section);
                self.number(set.len() as u64);
                for (key, value) in set {
                    self.text(key);
                    self.text(value);
                }
                self.texts(unset);
            }
            Op::Fstab { mount, line } => {
                self.text(mount);
                self.option(line.as_deref(), Self::text);
            }
            Op::Grow { root } => match root {
                GrowRule::By(size) => {
                    self.text("by");
                    self.number(size.0);
                }
                GrowRule::Free(size) => {
                    self.text("free");
                    self.number(size.0);
                }
            },
        }
    }
}
