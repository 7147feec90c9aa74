use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// An IPv4 network: an address with all host bits zero, and the length of its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network4 {
    address: Ipv4Addr,
    prefix: u8,
}

/// Why a text is no [`Network4`], [`Range4`] or [`MacAddr`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub struct NetError {
    text: String,
    wanted: String,
}

impl NetError {
    fn new(text: &str, wanted: impl Into<String>) -> Self {
        Self {
            text: text.to_owned(),
            wanted: wanted.into(),
        }
    }
}

impl Network4 {
    /// The network of this prefix (0 to 32 bits) that an address is in.
    #[must_use]
    pub fn of(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        let mask = mask(prefix);
        Self {
            address: Ipv4Addr::from_bits(address.to_bits() & mask),
            prefix,
        }
    }

    /// First address, of the network itself.
    #[must_use]
    pub const fn first(&self) -> Ipv4Addr {
        self.address
    }

    /// Last address, the broadcast address of all but the smallest networks.
    #[must_use]
    pub fn last(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() | !mask(self.prefix))
    }

    /// Length of the prefix in bits.
    #[must_use]
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The mask, such as 255.255.255.0.
    #[must_use]
    pub fn netmask(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(mask(self.prefix))
    }

    /// The n-th address; `None` when the network is too small.
    #[must_use]
    pub fn nth(&self, n: u32) -> Option<Ipv4Addr> {
        let address = self.address.to_bits().checked_add(n)?;
        (address <= self.last().to_bits()).then(|| Ipv4Addr::from_bits(address))
    }

    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.address.to_bits()
    }

    /// Whether two networks share an address.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// Whether all of it is private (RFC 1918), shared (RFC 6598) or link-local address space.
    #[must_use]
    pub fn is_private(&self) -> bool {
        const PRIVATE: [(Ipv4Addr, u8); 5] = [
            (Ipv4Addr::new(10, 0, 0, 0), 8),
            (Ipv4Addr::new(172, 16, 0, 0), 12),
            (Ipv4Addr::new(192, 168, 0, 0), 16),
            (Ipv4Addr::new(100, 64, 0, 0), 10),
            (Ipv4Addr::new(169, 254, 0, 0), 16),
        ];
        PRIVATE.iter().any(|(address, prefix)| {
            self.prefix >= *prefix && Self::of(*address, *prefix).contains(self.address)
        })
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Network4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Network4 {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        let wanted = "a network with its prefix, such as `10.11.0.0/25`";
        let error = || NetError::new(text, wanted);
        let (address, prefix) = text.split_once('/').ok_or_else(error)?;
        let address: Ipv4Addr = address.parse().map_err(|_| error())?;
        let prefix: u8 = prefix.parse().ok().filter(|p| *p <= 32).ok_or_else(error)?;
        let network = Self::of(address, prefix);
        if network.address != address {
            return Err(NetError::new(
                text,
                format!("a network: its host bits are not zero, `{network}` would be right"),
            ));
        }
        Ok(network)
    }
}

/// Addresses from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range4 {
    /// First address.
    pub from: Ipv4Addr,
    /// Last address, not below the first.
    pub to: Ipv4Addr,
}

impl Range4 {
    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.from <= address && address <= self.to
    }

    /// Whether two ranges share an address.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.from <= other.to && other.from <= self.to
    }

    /// Whether all of it lies in a network.
    #[must_use]
    pub fn is_in(&self, network: &Network4) -> bool {
        network.contains(self.from) && network.contains(self.to)
    }
}

impl From<Network4> for Range4 {
    fn from(network: Network4) -> Self {
        Self {
            from: network.first(),
            to: network.last(),
        }
    }
}

impl fmt::Display for Range4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.from, self.to)
    }
}

impl FromStr for Range4 {
    type Err = NetError;

    /// `10.11.0.110-10.11.0.120`, or the last number alone after the hyphen: `10.11.0.110-120`.
    fn from_str(text: &str) -> Result<Self, NetError> {
        let error = || NetError::new(text, "a range of addresses, such as `10.11.0.110-10.11.0.120`");
        let (from, to) = text.split_once('-').ok_or_else(error)?;
        let from: Ipv4Addr = from.trim().parse().map_err(|_| error())?;
        let to = to.trim();
        let to = match to.parse::<u8>() {
            Ok(last) => {
                let [a, b, c, _] = from.octets();
                Ipv4Addr::new(a, b, c, last)
            }
            Err(_) => to.parse().map_err(|_| error())?,
        };
        if to < from {
            return Err(NetError::new(text, "a range: it ends before it begins"));
        }
        Ok(Self { from, to })
    }
}

/// An Ethernet address, shown in lower case with colons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MacAddr([u8; 6]);

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddr {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        let error = || {
            NetError::new(
                text,
                "an Ethernet address of one board, such as `dc:a6:32:00:00:01`",
            )
        };
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2).ok_or_else(error)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| error())?;
        }
        // The lowest bit of the first byte marks groups (IEEE 802).
        if parts.next().is_some() || bytes[0] & 1 != 0 || bytes == [0; 6] {
            return Err(error());
        }
        Ok(Self(bytes))
    }
}

/// The IPv4 address, if it is one.
#[must_use]
pub const fn ipv4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let network: Network4 = "10.11.0.0/25".parse().expect("network");
        assert_eq!(network.last().to_string(), "10.11.0.127");
        assert_eq!(network.netmask().to_string(), "255.255.255.128");
        assert_eq!(
            network.nth(10).map(|a| a.to_string()).as_deref(),
            Some("10.11.0.10")
        );
        assert_eq!(network.nth(128), None);
        assert!(network.is_private() && !"11.0.0.0/25".parse::<Network4>().expect("public").is_private());
        assert!(!"10.0.0.0/7".parse::<Network4>().is_ok_and(|n| n.is_private()));
        let all: Network4 = "0.0.0.0/0".parse().expect("all");
        assert!(all.overlaps(&network) && network.overlaps(&all));
        for bad in ["10.11.0.1/25", "10.11.0.0", "10.11.0.0/33", "10.11.0/24", "::/0"] {
            assert!(bad.parse::<Network4>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_and_macs() {
        let range: Range4 = "10.11.0.110-120".parse().expect("range");
        assert_eq!(range.to_string(), "10.11.0.110-10.11.0.120");
        assert!("10.11.0.9-10.11.0.8".parse::<Range4>().is_err());
        assert_eq!(
            "DC-A6-32-00-00-01".parse::<MacAddr>().expect("mac").to_string(),
            "dc:a6:32:00:00:01"
        );
        for bad in [
            "dd:a6:32:00:00:01",
            "00:00:00:00:00:00",
            "dc:a6:32:00:00",
            "dc:a6:32:00:00:1",
        ] {
            assert!(bad.parse::<MacAddr>().is_err(), "{bad}");
        }
    }
}
