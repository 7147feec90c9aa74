//! The arguments of QEMU for one board.

use std::ffi::{OsStr, OsString};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::drive::Drive;
use super::forward::Forward;
use crate::values::{MacAddr, Network4};

/// A machine that QEMU knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// QEMU's own board: network, any size of card; no hardware of a Pi.
    #[default]
    Virt,
    /// Raspberry Pi 3B, without network.
    Raspi3b,
    /// Raspberry Pi 4B, without network; QEMU 9.0 and later.
    Raspi4b,
}

impl Kind {
    /// QEMU's word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Virt => "virt",
            Self::Raspi3b => "raspi3b",
            Self::Raspi4b => "raspi4b",
        }
    }

    /// The device tree of the board on the boot volume.
    #[must_use]
    pub const fn device_tree(self) -> Option<&'static str> {
        match self {
            Self::Virt => None,
            Self::Raspi3b => Some("bcm2710-rpi-3-b.dtb"),
            Self::Raspi4b => Some("bcm2711-rpi-4-b.dtb"),
        }
    }

    /// The only size of memory in MiB that QEMU gives the machine, where there is one.
    #[must_use]
    pub const fn memory(self) -> Option<u64> {
        match self {
            Self::Virt => None,
            Self::Raspi3b => Some(1024),
            Self::Raspi4b => Some(2048),
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Virt, Self::Raspi3b, Self::Raspi4b]
            .into_iter()
            .find(|kind| kind.word() == text)
            .ok_or_else(|| format!("`{text}` is no machine; write `virt`, `raspi3b` or `raspi4b`"))
    }
}

/// What a network card is plugged into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// A port of the nodes' Ethernet, by its socket.
    Segment(PathBuf),
    /// A network of its own towards the host.
    Outside {
        /// Its addresses.
        network: Network4,
        /// The host's address in it.
        host: Ipv4Addr,
        /// Whether the guest reaches the world through the host.
        open: bool,
        /// Ports of the host that lead in.
        forwards: Vec<Forward>,
    },
    /// Nothing.
    Unplugged,
}

/// A network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// What it is plugged into.
    pub link: Link,
}

/// A data disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// A qcow2 file.
    pub file: PathBuf,
    /// The device.
    pub drive: Drive,
}

/// One board, with everything decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// What QEMU makes of it.
    pub kind: Kind,
    /// Whether its kernel runs in 64-bit mode.
    pub wide: bool,
    /// Memory in MiB.
    pub memory: u64,
    /// Processors, where the machine leaves a choice.
    pub processors: u16,
    /// Kernel.
    pub kernel: PathBuf,
    /// Initramfs.
    pub initramfs: Option<PathBuf>,
    /// Device tree, for machines that need the board's.
    pub device_tree: Option<PathBuf>,
    /// The kernel's command line.
    pub command_line: String,
    /// The card, a qcow2 file.
    pub card: PathBuf,
    /// Whether what the guest has written must survive a power cut; if not, its flushes are not waited for.
    pub durable: bool,
    /// Data disks in the order of their names: `sda`, `sdb`, or `vdb`, `vdc`.
    pub disks: Vec<Disk>,
    /// Network cards in the order of their names: `eth0`, `eth1`.
    pub nics: Vec<Nic>,
    /// Where the serial console goes; it is appended to.
    pub log: PathBuf,
    /// Socket of QEMU's control protocol.
    pub control: PathBuf,
    /// What the clock shows at the start, `YYYY-MM-DDTHH:MM:SS` or `utc` for the host's time.
    pub clock: String,
}

impl Machine {
    /// QEMU's program for the processor.
    #[must_use]
    pub const fn program(&self) -> &'static str {
        if self.wide {
            "qemu-system-aarch64"
        } else {
            "qemu-system-arm"
        }
    }

    /// Its arguments.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let mut args = Arguments::default();
        args.add("-M", self.kind.word());
        if self.kind == Kind::Virt {
            args.add("-cpu", if self.wide { "cortex-a72" } else { "cortex-a15" });
            args.add("-smp", format!("{}", self.processors));
        }
        args.add("-m", format!("{}", self.memory));
        args.flag("-nodefaults").add("-display", "none");
        args.add("-rtc", format!("base={}", self.clock));
        args.add("-kernel", &self.kernel);
        if let Some(initramfs) = &self.initramfs {
            args.add("-initrd", initramfs);
        }
        if let Some(tree) = &self.device_tree {
            args.add("-dtb", tree);
        }
        args.add("-append", &self.command_line);
        let interface = if self.kind == Kind::Virt { "none" } else { "sd" };
        let cache = if self.durable { "writeback" } else { "unsafe" };
        let drive = |interface: &str, id: &str, file: &Path| {
            with_path(
                &format!("if={interface},id={id},format=qcow2,discard=unmap,cache={cache},file="),
                file,
            )
        };
        args.add("-drive", drive(interface, "card", &self.card));
        if self.kind == Kind::Virt {
            args.add("-device", "virtio-blk-pci,drive=card");
            args.add("-device", "virtio-rng-pci");
            for (number, nic) in self.nics.iter().enumerate() {
                let id = format!("n{number}");
                let netdev = match &nic.link {
                    Link::Segment(socket) => Some(stream(&id, socket)),
                    Link::Outside {
                        network,
                        host,
                        open,
                        forwards,
                    } => {
                        let rules: String = forwards.iter().map(Forward::rule).collect();
                        let closed = on_off(!open);
                        let text = format!(
                            "user,id={id},ipv6=off,restrict={closed},net={network},host={host}{rules}"
                        );
                        Some(text.into())
                    }
                    Link::Unplugged => None,
                };
                let mut device = "virtio-net-pci,romfile=".to_owned();
                if let Some(netdev) = netdev {
                    args.add("-netdev", netdev);
                    device.push_str(&format!(",netdev={id}"));
                }
                device.push_str(&format!(",mac={}", nic.mac));
                args.add("-device", device);
            }
            if self
                .disks
                .iter()
                .any(|disk| matches!(disk.drive, Drive::Usb { .. }))
            {
                args.add("-device", "qemu-xhci");
            }
            for (number, disk) in self.disks.iter().enumerate() {
                let id = format!("disk{number}");
                args.add("-drive", drive("none", &id, &disk.file));
                let device = match &disk.drive {
                    Drive::Virtio { serial } => format!("virtio-blk-pci,drive={id},serial={serial}"),
                    Drive::Usb {
                        vendor,
                        model,
                        serial,
                    } => {
                        args.add("-device", format!("usb-bot,id=usb{number},serial={serial}"));
                        format!(
                            "scsi-hd,bus=usb{number}.0,drive={id},vendor={vendor},product={model},serial={serial}"
                        )
                    }
                };
                args.add("-device", device);
            }
        }
        args.add(
            "-chardev",
            with_path("file,id=console,append=on,path=", &self.log),
        );
        args.add("-serial", "chardev:console");
        args.add(
            "-chardev",
            with_path("socket,id=control,server=on,wait=off,path=", &self.control),
        );
        args.add("-mon", "chardev=control,mode=control");
        args.0
    }
}

/// Arguments of the process that puts the host on the nodes' Ethernet, with a port of it by its socket. Whoever
/// reaches a local port of a forward reaches the node; nodes reach the world if `open`.
#[must_use]
pub fn gateway(lan: &super::lan::Lan, socket: &Path, open: bool) -> Vec<OsString> {
    let mut args = Arguments::default();
    args.add("-M", "none")
        .flag("-nodefaults")
        .add("-display", "none")
        .add("-netdev", stream("lan", socket));
    let mut user = format!(
        "user,id=host,ipv6=off,restrict={},net={},host={},dns={},dhcpstart={}",
        on_off(!open),
        lan.network,
        lan.host,
        lan.dns,
        lan.dhcp_start
    );
    for forward in lan.forwards.iter().filter(|forward| !forward.uplink) {
        user.push_str(&forward.rule());
    }
    args.add("-netdev", user)
        .add("-netdev", "hubport,id=left,hubid=0,netdev=lan")
        .add("-netdev", "hubport,id=right,hubid=0,netdev=host");
    args.0
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn flag(&mut self, name: &str) -> &mut Self {
        self.0.push(name.into());
        self
    }

    fn add(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.flag(name).0.push(value.as_ref().to_owned());
        self
    }
}

const fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn stream(id: &str, socket: &Path) -> OsString {
    with_path(
        &format!("stream,id={id},server=off,addr.type=unix,addr.path="),
        socket,
    )
}

/// Options with a path at the end. Commas separate options, so in a value they are doubled.
fn with_path(options: &str, path: &Path) -> OsString {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    let mut bytes = options.as_bytes().to_vec();
    for byte in path.as_os_str().as_bytes() {
        bytes.push(*byte);
        if *byte == b',' {
            bytes.push(b',');
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::forward::Protocol;
    use super::super::lan::Lan;
    use super::*;

    fn machine() -> Machine {
        Machine {
            kind: Kind::Virt,
            wide: true,
            memory: 1024,
            processors: 2,
            kernel: "/o/one.kernel".into(),
            initramfs: Some("/o/one.initramfs".into()),
            device_tree: None,
            command_line: "console=ttyAMA0 rootwait".to_owned(),
            durable: false,
            card: "/o/a,b/one.qcow2".into(),
            disks: Vec::new(),
            nics: vec![
                Nic {
                    mac: "dc:a6:32:00:00:01".parse().expect("mac"),
                    link: Link::Segment("/s/1".into()),
                },
                Nic {
                    mac: "dc:a6:32:00:00:02".parse().expect("mac"),
                    link: Link::Outside {
                        network: "10.0.2.0/24".parse().expect("network"),
                        host: Ipv4Addr::new(10, 0, 2, 2),
                        open: false,
                        forwards: Vec::new(),
                    },
                },
            ],
            log: "/o/one.log".into(),
            control: "/s/one.qmp".into(),
            clock: "utc".to_owned(),
        }
    }

    fn shown(args: &[OsString]) -> String {
        let words: Vec<_> = args.iter().map(|a| a.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn a_board_of_the_virtual_kind() {
        let machine = machine();
        assert_eq!(machine.program(), "qemu-system-aarch64");
        assert_eq!(
            shown(&machine.arguments()),
            "-M virt -cpu cortex-a72 -smp 2 -m 1024 -nodefaults -display none -rtc base=utc -kernel /o/one.kernel \
             -initrd /o/one.initramfs -append console=ttyAMA0 rootwait \
             -drive if=none,id=card,format=qcow2,discard=unmap,cache=unsafe,file=/o/a,,b/one.qcow2 \
             -device virtio-blk-pci,drive=card -device virtio-rng-pci \
             -netdev stream,id=n0,server=off,addr.type=unix,addr.path=/s/1 \
             -device virtio-net-pci,romfile=,netdev=n0,mac=dc:a6:32:00:00:01 \
             -netdev user,id=n1,ipv6=off,restrict=on,net=10.0.2.0/24,host=10.0.2.2 \
             -device virtio-net-pci,romfile=,netdev=n1,mac=dc:a6:32:00:00:02 \
             -chardev file,id=console,append=on,path=/o/one.log -serial chardev:console \
             -chardev socket,id=control,server=on,wait=off,path=/s/one.qmp -mon chardev=control,mode=control"
        );
    }

    #[test]
    fn a_pi_has_its_card_in_its_slot_and_no_network() {
        let pi = Machine {
            kind: Kind::Raspi3b,
            device_tree: Some("/o/one.dtb".into()),
            ..machine()
        };
        let words = shown(&pi.arguments());
        assert!(words.starts_with("-M raspi3b -m 1024 "), "{words}");
        assert!(
            words.contains("-dtb /o/one.dtb") && words.contains("if=sd,"),
            "{words}"
        );
        assert!(!words.contains("netdev") && !words.contains("virtio"), "{words}");
    }

    #[test]
    fn a_narrow_kernel_has_a_narrow_processor() {
        let narrow = Machine {
            wide: false,
            clock: "2025-01-01T00:00:00".to_owned(),
            ..machine()
        };
        assert_eq!(narrow.program(), "qemu-system-arm");
        let words = shown(&narrow.arguments());
        assert!(words.contains("-cpu cortex-a15") && words.contains("-rtc base=2025-01-01T00:00:00"));
    }

    #[test]
    fn data_disks_come_after_the_card_each_with_its_number() {
        let disk = |id: &str, file: &str| Disk {
            file: file.into(),
            drive: Drive::of("data", Some(id), None).expect("drive"),
        };
        let board = Machine {
            disks: vec![
                disk("usb-Some_Disk_0001-0:0", "/o/one.a.qcow2"),
                disk("virtio-0002", "/o/one.b.qcow2"),
            ],
            ..machine()
        };
        let words = shown(&board.arguments());
        assert!(
            words.contains(
                "-device qemu-xhci -drive if=none,id=disk0,format=qcow2,discard=unmap,cache=unsafe,file=/o/one.a.qcow2 \
                 -device usb-bot,id=usb0,serial=0001 \
                 -device scsi-hd,bus=usb0.0,drive=disk0,vendor=Some,product=Disk,serial=0001 \
                 -drive if=none,id=disk1,format=qcow2,discard=unmap,cache=unsafe,file=/o/one.b.qcow2 \
                 -device virtio-blk-pci,drive=disk1,serial=0002 -chardev"
            ),
            "{words}"
        );
    }

    #[test]
    fn an_unplugged_card_keeps_its_place() {
        let mut machine = machine();
        machine.nics[0].link = Link::Unplugged;
        let words = shown(&machine.arguments());
        assert!(
            words.contains("-device virtio-net-pci,romfile=,mac=dc:a6:32:00:00:01"),
            "{words}"
        );
    }

    #[test]
    fn the_host_is_the_gateway_and_forwards() {
        let lan = Lan {
            network: "10.11.0.0/25".parse().expect("network"),
            host: Ipv4Addr::new(10, 11, 0, 1),
            dns: Ipv4Addr::new(10, 11, 0, 126),
            dhcp_start: Ipv4Addr::new(10, 11, 0, 110),
            serves_dhcp: true,
            forwards: vec![Forward {
                node: "one".to_owned(),
                address: Ipv4Addr::new(10, 11, 0, 101),
                protocol: Protocol::Tcp,
                port: 22,
                local: 40022,
                uplink: false,
            }],
        };
        let closed = shown(&gateway(&lan, Path::new("/s/0"), false));
        assert!(
            closed.contains(
                "user,id=host,ipv6=off,restrict=on,net=10.11.0.0/25,host=10.11.0.1,dns=10.11.0.126,\
                 dhcpstart=10.11.0.110,hostfwd=tcp:127.0.0.1:40022-10.11.0.101:22"
            ),
            "{closed}"
        );
        assert!(shown(&gateway(&lan, Path::new("/s/0"), true)).contains("restrict=off"));
    }

    #[test]
    fn machines_by_their_words() {
        assert_eq!("raspi4b".parse::<Kind>(), Ok(Kind::Raspi4b));
        assert!("pc".parse::<Kind>().is_err_and(|e| e.contains("`virt`")));
    }
}
