//! From whom a request comes, and which addresses count as one client where something is limited by
//! address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The address of a peer as everybody is told it: behind a dual-stack listener IPv4 peers come as
/// ::ffff:a.b.c.d. All zeros for one that is gone already.
pub(super) fn address(peer: Option<SocketAddr>) -> IpAddr {
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| {
        peer.ip().to_canonical()
    })
}

/// One client, as far as limits by address can tell: an IPv4 address, or a network of 64 bits of
/// IPv6, out of which a single machine takes as many addresses as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Client(IpAddr);

/// The client an address belongs to; `None` for loopback, which is no single one: a proxy on this
/// machine, or whoever owns it.
pub(super) fn client(address: IpAddr) -> Option<Client> {
    // Behind a dual-stack listener IPv4 peers come as ::ffff:a.b.c.d.
    match address.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            Some(Client(Ipv6Addr::from_bits(network).into()))
        }
        address => Some(Client(address)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_is_told_as_its_owner_knows_it() {
        for (peer, told) in [
            ("[::ffff:203.0.113.7]:1", "203.0.113.7"),
            ("203.0.113.7:1", "203.0.113.7"),
            ("[2001:db8::1]:1", "2001:db8::1"),
        ] {
            assert_eq!(address(Some(peer.parse().unwrap())).to_string(), told);
        }
        assert!(address(None).is_unspecified());
    }
}
