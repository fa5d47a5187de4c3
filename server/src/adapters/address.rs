//! Which addresses count as one client where something is limited by address.

use std::net::{IpAddr, Ipv6Addr};

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
