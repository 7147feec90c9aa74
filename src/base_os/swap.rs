//! Swap by whichever mechanism the base has (F070 to F072, P10, P56).

use crate::amend::assign;
use crate::plan::{Attributes, Content, Op, Swap};
use crate::values::VolumeName;

use super::builder::{Builder, Failure};

/// Unit of compressed memory, made by util-linux alone: it is the same on every base.
const ZRAM_UNIT: &str = "ceil-zram.service";

impl Builder<'_> {
    pub(super) fn swap(&mut self) -> Result<(), Failure> {
        match self.plan.wishes.swap {
            None => Ok(()),
            Some(Swap::Limited) => {
                let word = if self.has_swap() {
                    "stays as the base has it"
                } else {
                    "is wished, but the base has none"
                };
                self.note(format!(
                    "swap {word}; how much of it pods use is up to the kubelet"
                ));
                Ok(())
            }
            Some(Swap::Off) => {
                self.swap_off()?;
                if self.facts.system.swap.rpi_swap {
                    self.mask("dev-zram0.swap")?;
                }
                if !self.has_swap() {
                    self.note("swap is off: the base has none");
                }
                Ok(())
            }
            Some(Swap::Zram(size)) => {
                if size.0 == 0 {
                    return Err(Failure::Refused(
                        "swap in memory of no size is none; write `swap: off`".to_owned(),
                    ));
                }
                if !self.facts.system.is_systemd() {
                    return Err(Failure::Refused(format!(
                        "swap in compressed memory is made by a unit of systemd, which {} does not have",
                        self.facts.called()
                    )));
                }
                self.need_module("zram")?;
                self.swap_off()?;
                self.file(
                    &format!("/etc/systemd/system/{ZRAM_UNIT}"),
                    &zram_unit(size.0),
                    0o644,
                )?;
                self.want(
                    ZRAM_UNIT,
                    "multi-user.target",
                    &format!("/etc/systemd/system/{ZRAM_UNIT}"),
                )?;
                self.note(
                    "swap in compressed memory is made by a unit of its own; the base's mechanisms are off",
                );
                Ok(())
            }
        }
    }

    fn has_swap(&self) -> bool {
        let swap = &self.facts.system.swap;
        swap.dphys.is_some() || swap.rpi_swap || !swap.generators.is_empty() || !swap.fstab.is_empty()
    }

    fn swap_off(&mut self) -> Result<(), Failure> {
        let swap = &self.facts.system.swap;
        if let Some(stock) = &swap.dphys {
            let text =
                assign(stock, "CONF_SWAPSIZE", "0").map_err(|e| Failure::Amend("/etc/dphys-swapfile", e))?;
            self.put_content(
                VolumeName::Root,
                "/etc/dphys-swapfile",
                Content::inline(text.as_bytes()),
                Attributes::default(),
            )?;
            self.mask("dphys-swapfile.service")?;
            self.note("swap is off: dphys-swapfile is masked, its size is 0");
        }
        if swap.rpi_swap {
            self.file(
                "/etc/rpi/swap.conf.d/90-ceil.conf",
                "[Main]\nMechanism=none\n",
                0o644,
            )?;
            self.note("swap is off: rpi-swap has the mechanism `none`");
        }
        for generator in &swap.generators {
            self.link(
                &format!("/etc/systemd/system-generators/{generator}"),
                "/dev/null",
            )?;
            self.note(format!("swap is off: the generator `{generator}` is masked, which makes units whatever its settings say"));
        }
        for mount in &swap.fstab {
            self.push(Op::Fstab {
                mount: mount.clone(),
                line: None,
            });
            self.note("swap is off: its lines of fstab are removed");
        }
        Ok(())
    }
}

fn zram_unit(bytes: u64) -> String {
    format!(
        "[Unit]\nDescription=Swap in compressed memory\nAfter=systemd-modules-load.service\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/sbin/modprobe zram\nExecStart=/sbin/zramctl --size {bytes} /dev/zram0\nExecStart=/sbin/mkswap /dev/zram0\nExecStart=/sbin/swapon --priority 100 /dev/zram0\nExecStop=/sbin/swapoff /dev/zram0\nExecStop=/sbin/zramctl --reset /dev/zram0\n\n[Install]\nWantedBy=multi-user.target\n"
    )
}
