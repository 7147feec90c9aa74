//! Messages of multicast DNS (RFC 6762): the question for the address of a host, and its answers.

use std::net::{IpAddr, Ipv4Addr};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, QTYPE, Question, SimpleDnsError, TYPE};

/// A question for the IPv4 address of a name, as a one-shot resolver asks it (section 5.1): from a port of its own,
/// so that the answer comes to that port alone.
///
/// # Errors
/// The name is none of DNS.
pub fn question(name: &str) -> Result<Vec<u8>, SimpleDnsError> {
    let mut packet = Packet::new_query(0);
    packet.questions.push(Question::new(
        Name::new(name)?,
        QTYPE::TYPE(TYPE::A),
        CLASS::IN.into(),
        true,
    ));
    packet.build_bytes_vec()
}

/// The addresses that an answer has for a name; none when it is no answer, or one to another question.
#[must_use]
pub fn answers(message: &[u8], name: &str) -> Vec<IpAddr> {
    let Ok(packet) = Packet::parse(message) else {
        return Vec::new();
    };
    if !packet.has_flags(simple_dns::PacketFlag::RESPONSE) {
        return Vec::new();
    }
    packet
        .answers
        .iter()
        .filter(|record| record.name.to_string().eq_ignore_ascii_case(name))
        .filter_map(|record| match &record.rdata {
            RData::A(a) => Some(IpAddr::V4(Ipv4Addr::from_bits(a.address))),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes written by hand after RFC 1035, section 4.
    #[test]
    fn f161_messages_of_mdns() {
        let asked = b"\0\0\0\0\0\x01\0\0\0\0\0\0\x03one\x05local\0\0\x01\x80\x01";
        assert_eq!(question("one.local").unwrap(), asked);
        let answer =
            b"\0\0\x84\0\0\0\0\x01\0\0\0\0\x03One\x05local\0\0\x01\x80\x01\0\0\0\x78\0\x04\x0a\x0b\0\x65";
        let ip: IpAddr = "10.11.0.101".parse().unwrap();
        assert_eq!(answers(answer, "one.local"), [ip]);
        assert!(answers(answer, "two.local").is_empty());
        // A question is no answer, and neither is rubbish.
        let mut other = answer.to_vec();
        other[2] = 0;
        assert!(answers(&other, "one.local").is_empty());
        for len in 0..answer.len() {
            assert!(answers(&answer[..len], "one.local").is_empty(), "{len}");
        }
        assert!(question(&"a".repeat(64)).is_err());
    }
}
