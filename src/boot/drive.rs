//! Data disks beside the card: which the user asks for, and the device that is found by the same name as the real one.

use std::path::PathBuf;
use std::str::FromStr;

use crate::disk::SECTOR;
use crate::values::ByteSize;

/// Longest vendor and model in bytes that a SCSI disk tells (SPC-4, 6.4.2, standard INQUIRY data).
const VENDOR: usize = 8;
const MODEL: usize = 16;
/// Longest serial number in bytes that a virtio block device tells (virtio 1.2, 5.2.6, `VIRTIO_BLK_T_GET_ID`).
const SERIAL: usize = 20;

/// What is on a disk at first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Nothing; of this size.
    Blank(ByteSize),
    /// What a raw image has. The node writes to a copy.
    Image(PathBuf),
}

/// A disk that the user asks for: `NODE:DISK=SIZE` or `NODE:DISK=FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedDisk {
    /// The node.
    pub node: String,
    /// The disk's name among the disks of the node.
    pub name: String,
    /// What is on it at first.
    pub content: Content,
}

impl WantedDisk {
    /// Whether two are the same disk, whatever is on them.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.node == other.node && self.name == other.name
    }
}

impl FromStr for WantedDisk {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |why: &str| {
            format!("`{text}` is no disk: {why}; write `NODE:DISK=SIZE`, or `NODE:DISK=FILE` for a raw image")
        };
        let (place, content) = text.split_once('=').ok_or_else(|| bad("it has no `=`"))?;
        let (node, name) = place.split_once(':').unwrap_or((place, ""));
        if node.is_empty() || name.is_empty() {
            return Err(bad(
                "a node and the name of one of its disks stand before the `=`",
            ));
        }
        // It becomes a part of a file's name.
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if !name.bytes().all(plain) {
            return Err(bad(
                "names of disks that are plugged in have letters, digits, `-` and `_`",
            ));
        }
        // What begins like a number is meant as one: a file of such a name is written with its folder.
        let content = if content.starts_with(|c: char| c.is_ascii_digit()) {
            let size: ByteSize = content.parse().map_err(|e| bad(&format!("{e}")))?;
            if size.0 == 0 || !size.0.is_multiple_of(SECTOR) {
                return Err(bad(&format!("a disk has whole sectors of {SECTOR} bytes")));
            }
            Content::Blank(size)
        } else if content.is_empty() {
            return Err(bad("it has no size"));
        } else {
            Content::Image(content.into())
        };
        Ok(Self {
            node: node.to_owned(),
            name: name.to_owned(),
            content,
        })
    }
}

/// The device that plays a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drive {
    /// `/dev/disk/by-id/virtio-SERIAL`, `/dev/vdb`.
    Virtio {
        /// Serial number.
        serial: String,
    },
    /// `/dev/disk/by-id/usb-VENDOR_MODEL_SERIAL-0:0`, `/dev/sda`.
    Usb {
        /// Vendor.
        vendor: String,
        /// Model.
        model: String,
        /// Serial number.
        serial: String,
    },
}

impl Drive {
    /// The device that udev finds by `id`, a name below `/dev/disk/by-id` with or without `-partN`; `serial` is the
    /// number that it is known to tell. A disk that is not known by an id may be any, and is called `name`.
    ///
    /// # Errors
    /// A sentence, when the emulator has no such device.
    pub fn of(name: &str, id: Option<&str>, serial: Option<&str>) -> Result<Self, String> {
        let Some(id) = id else {
            let serial = serial.unwrap_or(name).chars().take(SERIAL).collect();
            return Ok(Self::Virtio { serial });
        };
        let bad = |why: &str| format!("the emulator has no disk `{id}`: {why}");
        let whole = match id.rsplit_once("-part") {
            Some((whole, part)) if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) => whole,
            _ => id,
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | ':');
        if !whole.chars().all(plain) {
            return Err(bad("it plays letters, digits, `-`, `_`, `.`, `+` and `:` alone"));
        }
        if let Some(own) = whole.strip_prefix("virtio-") {
            if own.is_empty() || own.len() > SERIAL {
                return Err(bad(&format!("a serial number of virtio has 1 to {SERIAL} bytes")));
            }
            return Ok(Self::Virtio {
                serial: own.to_owned(),
            });
        }
        let words = whole
            .strip_prefix("usb-")
            .ok_or_else(|| bad("it plays ids that begin with `usb-` or `virtio-`"))?
            .strip_suffix("-0:0")
            .ok_or_else(|| bad("it plays the first unit of a USB disk, which ends with `-0:0`"))?;
        let shape = || {
            bad(&format!(
                "of VENDOR_MODEL_SERIAL the vendor has up to {VENDOR} bytes and the model up to {MODEL}"
            ))
        };
        let (vendor, rest) = words.split_once('_').ok_or_else(shape)?;
        let cut = match serial {
            Some(serial) => rest
                .strip_suffix(serial)
                .and_then(|r| r.strip_suffix('_'))
                .map(str::len),
            // As much as fits is model: numbers have no `_`.
            None => rest.match_indices('_').map(|(at, _)| at).rfind(|at| *at <= MODEL),
        };
        let (model, number) = rest.split_at(cut.ok_or_else(shape)?);
        let number = number.trim_start_matches('_');
        let fits = |word: &str, most| (1..=most).contains(&word.len());
        if !fits(vendor, VENDOR) || !fits(model, MODEL) || number.is_empty() {
            return Err(shape());
        }
        Ok(Self::Usb {
            vendor: vendor.to_owned(),
            model: model.to_owned(),
            serial: number.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_disks_and_images() {
        let blank: WantedDisk = "nas:data=2GiB".parse().expect("disk");
        assert_eq!((blank.node.as_str(), blank.name.as_str()), ("nas", "data"));
        assert_eq!(blank.content, Content::Blank(ByteSize(2 << 30)));
        let image: WantedDisk = "nas:data=./old=1.img".parse().expect("disk");
        assert_eq!(image.content, Content::Image("./old=1.img".into()));
        assert!(image.same(&blank) && !image.same(&"one:data=1MiB".parse().expect("disk")));
    }

    #[test]
    fn what_is_no_disk_is_told_with_the_reason() {
        for (bad, why) in [
            ("nas", "no `=`"),
            ("nas=1GiB", "before the `=`"),
            (":a=1GiB", "before the `=`"),
            ("nas:=1GiB", "before the `=`"),
            ("nas:../a=1GiB", "letters, digits"),
            ("nas:a=", "no size"),
            ("nas:a=0", "whole sectors"),
            ("nas:a=1000", "whole sectors"),
            ("nas:a=5 apples", "apples"),
        ] {
            let error = bad.parse::<WantedDisk>().expect_err(bad);
            assert!(
                error.contains(why) && error.contains("`NODE:DISK=SIZE`"),
                "{error}"
            );
        }
    }

    fn usb(vendor: &str, model: &str, serial: &str) -> Drive {
        Drive::Usb {
            vendor: vendor.to_owned(),
            model: model.to_owned(),
            serial: serial.to_owned(),
        }
    }

    #[test]
    fn a_disk_is_found_by_the_name_of_the_real_one() {
        for (id, serial, drive) in [
            (
                "usb-Samsung_Portable_SSD_T5_1234567D-0:0",
                None,
                usb("Samsung", "Portable_SSD_T5", "1234567D"),
            ),
            ("usb-Away_Disk_0001-0:0-part1", None, usb("Away", "Disk", "0001")),
            ("usb-Away_Disk_A_1-0:0", Some("A_1"), usb("Away", "Disk", "A_1")),
            (
                "virtio-CEIL0001-part2",
                None,
                Drive::Virtio {
                    serial: "CEIL0001".to_owned(),
                },
            ),
        ] {
            assert_eq!(Drive::of("data", Some(id), serial), Ok(drive), "{id}");
        }
        assert_eq!(
            Drive::of("data", None, None),
            Ok(Drive::Virtio {
                serial: "data".to_owned()
            })
        );
    }

    #[test]
    fn disks_that_cannot_be_played_are_told() {
        for (id, serial, why) in [
            ("ata-WDC_WD10-1", None, "`usb-` or `virtio-`"),
            ("usb-A_B_C-0:1", None, "`-0:0`"),
            ("usb-Disk-0:0", None, "VENDOR_MODEL_SERIAL"),
            ("usb-TooLongAVendor_Disk_1-0:0", None, "up to 8 bytes"),
            ("usb-A_B_C-0:0", Some("D"), "VENDOR_MODEL_SERIAL"),
            ("usb-A_ModelOfTwentyBytes01_1-0:0", Some("1"), "up to 16"),
            ("usb-A_B_-0:0", None, "VENDOR_MODEL_SERIAL"),
            ("virtio-", None, "1 to 20 bytes"),
            ("usb-A_B,C_1-0:0", None, "letters, digits"),
        ] {
            let error = Drive::of("data", Some(id), serial).expect_err(id);
            assert!(error.contains(why) && error.contains(id), "{error}");
        }
    }
}
