//! The kind of settings that list addresses and ranges of addresses.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use serde_json::Value as Json;

use super::kinds::Kind;

/// Of an IPv6 address that stands for an IPv4 one, the bits in front of that one.
const MAPPED_PREFIX_BITS: u8 = 96;

/// Addresses and CIDR ranges, separated by commas.
#[derive(Debug)]
pub struct AddressRanges;

impl Kind for AddressRanges {
    type Value = Vec<IpNet>;
    const SYNTAX: &'static str = "ADDRESS[/BITS]";

    fn parse(text: &str) -> Result<Vec<IpNet>, String> {
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        parts.map(parse_range).collect()
    }

    fn show(value: &Vec<IpNet>) -> String {
        let shown: Vec<_> = value.iter().map(show_range).collect();
        shown.join(",")
    }

    fn json(value: &Vec<IpNet>) -> Json {
        value.iter().map(show_range).collect()
    }
}

fn parse_range(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    let range = address.or_else(|_| text.parse::<IpNet>()).map_err(|_| {
        "IP addresses or ranges of them, such as 10.0.0.5, 10.0.0.0/8 or fd00::/8, without names \
         and ports"
            .to_owned()
    })?;
    Ok(canonical(range.trunc()))
}

/// Peers are compared as what they are: `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
fn canonical(range: IpNet) -> IpNet {
    let IpNet::V6(mapped) = range else {
        return range;
    };
    let bits = mapped.prefix_len().checked_sub(MAPPED_PREFIX_BITS);
    let address = mapped.network().to_ipv4_mapped();
    let plain = address.zip(bits);
    plain
        .and_then(|(address, bits)| Ipv4Net::new(address, bits).ok())
        .map_or(range, IpNet::V4)
}

fn show_range(range: &IpNet) -> String {
    if range.prefix_len() == range.max_prefix_len() {
        range.addr().to_string()
    } else {
        range.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_and_ranges_are_read_and_shown_alike() {
        let table = [
            ("", ""),
            ("10.0.0.5", "10.0.0.5"),
            ("10.0.0.5/32", "10.0.0.5"),
            ("10.0.0.5/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::1", "::1"),
            ("FD00:0::/8", "fd00::/8"),
            ("::ffff:10.0.0.5", "10.0.0.5"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::/0", "::/0"),
            (" 10.0.0.5 ,, fd00::/8,", "10.0.0.5,fd00::/8"),
        ];
        for (text, shown) in table {
            let ranges = AddressRanges::parse(text).unwrap();
            assert_eq!(AddressRanges::show(&ranges), shown, "{text}");
            assert_eq!(AddressRanges::parse(shown).unwrap(), ranges, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_an_example() {
        let table = [
            "balancer.example.com",
            "10.0.0.5:80",
            "[::1]",
            "10.0.0.0/33",
            "10.0.0/8",
            "10.0.0.0/",
            "*",
            "10.0.0.5,x",
        ];
        for text in table {
            let told = AddressRanges::parse(text).unwrap_err();
            assert!(told.contains("10.0.0.0/8"), "{text}: {told}");
        }
    }
}
