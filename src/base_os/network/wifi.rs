//! WiFi: the country, radios that a base blocks, power saving, and wpa_supplicant (F091 to F093, P38).

use crate::amend::assign;
use crate::plan::{Interface, Op, Wifi};
use crate::values::VolumeName;

use super::super::NetworkManager;
use super::super::builder::{Builder, Failure};

/// Longest name of a network, in bytes (IEEE 802.11).
const MAX_SSID: usize = 32;

/// wpa_supplicant's file of one interface: dhcpcd's hook and `wpa_supplicant@.service` look for this name.
pub(super) fn path(name: &str) -> String {
    format!("/etc/wpa_supplicant/wpa_supplicant-{name}.conf")
}

impl Builder<'_> {
    /// What all radios need, whoever joins the network.
    pub(super) fn radios(&mut self, wireless: &[&Interface]) -> Result<(), Failure> {
        let networks: Vec<&Wifi> = wireless.iter().filter_map(|i| i.wifi.as_ref()).collect();
        let Some(country) = networks.first().map(|w| w.country.as_str()) else {
            return Ok(());
        };
        for wifi in &networks {
            check(wifi)?;
            if wifi.country != country {
                return Err(Failure::Refused(format!(
                    "a board is in one country, and its WiFi networks name `{country}` and `{}`",
                    wifi.country
                )));
            }
        }
        self.push(Op::KernelArgs {
            add: vec![format!("cfg80211.ieee80211_regdom={country}")],
            remove: vec!["cfg80211.ieee80211_regdom".to_owned()],
        });
        self.note(format!(
            "WiFi has the country {country} by the kernel command line"
        ));
        let radio = &self.facts.system.radio;
        for path in &radio.blocked {
            self.put(VolumeName::Root, path, "0\n")?;
        }
        if let Some(state) = &radio.nm_state {
            let text = assign(state, "WirelessEnabled", "true")
                .map_err(|e| Failure::Amend("/var/lib/NetworkManager/NetworkManager.state", e))?;
            self.put(
                VolumeName::Root,
                "/var/lib/NetworkManager/NetworkManager.state",
                &text,
            )?;
        }
        if !radio.blocked.is_empty() || radio.nm_state.is_some() {
            self.note("the base blocks WiFi until it knows a country: the radio is unblocked");
        }
        self.power_save(wireless)
    }

    fn power_save(&mut self, wireless: &[&Interface]) -> Result<(), Failure> {
        let off = |i: &&&Interface| i.wifi.as_ref().is_some_and(|w| !w.power_save);
        let off: Vec<&Interface> = wireless.iter().filter(off).copied().collect();
        if off.is_empty() {
            return Ok(());
        }
        if self.facts.network == NetworkManager::NetworkManager {
            // Also for profiles that netplan makes on the machine.
            let names: Vec<String> = off.iter().map(|i| format!("interface-name:{}", i.name)).collect();
            let text = format!(
                "[connection-ceil]\nmatch-device={}\nwifi.powersave=2\n",
                names.join(",")
            );
            self.file("/etc/NetworkManager/conf.d/90-ceil-wifi.conf", &text, 0o644)?;
            self.note("WiFi does not save power, by NetworkManager's settings");
            return Ok(());
        }
        let Some(iw) = &self.facts.system.radio.iw else {
            self.note("WiFi saves power: the base has no `iw` to stop it");
            return Ok(());
        };
        let rules: String = off
            .iter()
            .map(|i| {
                format!(
                    "ACTION==\"add\", SUBSYSTEM==\"net\", KERNEL==\"{0}\", RUN+=\"{iw} dev {0} set power_save off\"\n",
                    i.name
                )
            })
            .collect();
        self.file("/etc/udev/rules.d/90-ceil-wifi.rules", &rules, 0o644)?;
        self.note("WiFi does not save power, by a rule of udev");
        Ok(())
    }

    /// wpa_supplicant's file.
    pub(super) fn supplicant(&mut self, interface: &Interface) -> Result<(), Failure> {
        let Some(wifi) = &interface.wifi else {
            return Ok(());
        };
        if !self.facts.system.radio.wpa_supplicant {
            return Err(Failure::Refused(format!(
                "{} has no wpa_supplicant, so that `{}` cannot join a WiFi network",
                self.facts.called(),
                interface.name
            )));
        }
        let path = path(&interface.name);
        if wifi.psk.is_some() {
            self.secret(&path, &text(wifi))?;
        } else {
            self.file(&path, &text(wifi), 0o600)?;
        }
        Ok(())
    }

    /// The unit that joins where systemd-networkd gives addresses.
    pub(super) fn supplicant_unit(&mut self, name: &str) -> Result<(), Failure> {
        let Some(template) = self.facts.system.units.get("wpa_supplicant@.service").cloned() else {
            return Err(Failure::Refused(format!(
                "{} has no unit `wpa_supplicant@.service`, so that `{name}` cannot join a WiFi network",
                self.facts.called()
            )));
        };
        self.want(
            &format!("wpa_supplicant@{name}.service"),
            "multi-user.target",
            &template,
        )
    }
}

fn check(wifi: &Wifi) -> Result<(), Failure> {
    let refuse = |why: &str| Err(Failure::Refused(format!("a WiFi network {why}")));
    if wifi.ssid.is_empty() || wifi.ssid.len() > MAX_SSID {
        return refuse("has a name of 1 to 32 bytes");
    }
    if wifi.ssid.chars().any(char::is_control) {
        return refuse("has a name without control characters");
    }
    if wifi.country.len() != 2 || !wifi.country.bytes().all(|b| b.is_ascii_uppercase()) {
        return refuse("has a country of two capital letters, such as `GB`");
    }
    if wifi
        .psk
        .as_ref()
        .is_some_and(|psk| psk.len() != 64 || !psk.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        return refuse("has a key of 64 hexadecimal digits");
    }
    Ok(())
}

/// A file of wpa_supplicant.conf(5). The name is written in hexadecimal, so that it may hold any character.
fn text(wifi: &Wifi) -> String {
    let ssid: String = wifi.ssid.bytes().map(|b| format!("{b:02x}")).collect();
    let hidden = if wifi.hidden { "\tscan_ssid=1\n" } else { "" };
    let key = match &wifi.psk {
        Some(psk) => format!("\tpsk={psk}\n"),
        None => "\tkey_mgmt=NONE\n".to_owned(),
    };
    format!(
        "ctrl_interface=DIR=/var/run/wpa_supplicant GROUP=netdev\nupdate_config=0\ncountry={}\nnetwork={{\n\tssid={ssid}\n{hidden}{key}}}\n",
        wifi.country
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f091_f092_wpa_supplicant_gets_country_and_key() {
        let mut wifi = Wifi {
            ssid: "a\"b".to_owned(),
            psk: Some("ab".repeat(32)),
            country: "DE".to_owned(),
            hidden: true,
            power_save: true,
        };
        assert_eq!(
            text(&wifi),
            format!(
                "ctrl_interface=DIR=/var/run/wpa_supplicant GROUP=netdev\nupdate_config=0\ncountry=DE\nnetwork={{\n\tssid=612262\n\tscan_ssid=1\n\tpsk={}\n}}\n",
                "ab".repeat(32)
            )
        );
        assert!(check(&wifi).is_ok());
        wifi.psk = None;
        assert!(text(&wifi).contains("\tkey_mgmt=NONE\n"));
        for country in ["", "de", "DEU"] {
            wifi.country = country.to_owned();
            assert!(check(&wifi).is_err(), "p38 {country}");
        }
    }
}
