//! Reads a header of the PROXY protocol version 2 from the bytes that have come so far; no I/O.
//!
//! The format is HAProxy's, `doc/proxy-protocol.txt`, section 2.2:
//!
//! ```text
//!  signature 12 │ version, command 1 │ family, transport 1 │ length 2 │ addresses, then TLVs
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What every header opens with; no request of HTTP and no hello of TLS does.
pub(super) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Everything up to the length.
const FIXED_BYTES: usize = 16;
/// The most that may follow the length: ten times what balancers send (addresses, a name, a
/// checksum, what TLS found out), little enough to hold for anyone.
const REST_BYTES_MAX: usize = 2_048;

/// The high half of the thirteenth byte.
const VERSION: u8 = 2;
/// The balancer speaks for itself, such as to see whether we live.
const COMMAND_LOCAL: u8 = 0;
/// The balancer speaks for a client.
const COMMAND_PROXY: u8 = 1;

const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
/// Unspecified, UDP, and both kinds of unix sockets: valid, but they tell no address that a TCP
/// connection can have.
const WITHOUT_SOURCE: [u8; 5] = [0x00, 0x12, 0x22, 0x31, 0x32];

/// Two addresses of four bytes, two ports of two.
const IPV4_BYTES: usize = 12;
/// Two addresses of sixteen bytes, two ports of two.
const IPV6_BYTES: usize = 36;

/// How far a header has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parsed {
    /// So far it is one; at least one byte is missing.
    Incomplete {
        /// How many bytes may be read next: all of them belong to the header.
        missing: usize,
    },
    /// It is all there.
    Whole {
        /// The client, if it tells one that is not the peer itself.
        source: Option<SocketAddr>,
    },
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// It begins like something else.
    #[error(
        "the connection does not open with a PROXY protocol header of version 2; let the balancer \
         send it (HAProxy: send-proxy-v2), or take its address out of the setting \
         proxy_protocol_from"
    )]
    Signature,
    /// A version to come.
    #[error("the PROXY protocol header has version {0}; let the balancer send version 2")]
    Version(u8),
    /// Neither LOCAL nor PROXY.
    #[error("the PROXY protocol header has the unknown command {0}; let the balancer send PROXY")]
    Command(u8),
    /// No family and transport that the protocol knows.
    #[error(
        "the PROXY protocol header has the unknown family and transport {0:#04x}; let the balancer \
         send TCP over IPv4 or IPv6"
    )]
    Family(u8),
    /// More than anyone needs.
    #[error(
        "the PROXY protocol header declares {0} bytes of addresses and extensions, more than \
         {REST_BYTES_MAX}; let the balancer send fewer extensions (TLVs)"
    )]
    TooLong(usize),
    /// Less than its addresses take.
    #[error(
        "the PROXY protocol header declares {0} bytes, fewer than its addresses take; the balancer \
         that sends it is broken"
    )]
    TooShort(usize),
}

impl Malformed {
    /// The label of the metric.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Version(_) => "version",
            Self::Command(_) => "command",
            Self::Family(_) => "family",
            Self::TooLong(_) | Self::TooShort(_) => "length",
        }
    }
}

/// Looks at the bytes from the beginning of a stream. What lies behind the header is not looked at.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    // Byte by byte: who speaks something else may say little and wait for an answer.
    if bytes
        .iter()
        .zip(SIGNATURE)
        .any(|(is, wanted)| *is != wanted)
    {
        return Err(Malformed::Signature);
    }
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else {
        let missing = FIXED_BYTES - bytes.len();
        return Ok(Parsed::Incomplete { missing });
    };
    let [.., version_command, family, length_high, length_low] = *fixed;
    let length = usize::from(u16::from_be_bytes([length_high, length_low]));
    let told = check(version_command, family, length)?;
    if let Some(missing) = length.checked_sub(rest.len()).filter(|bytes| *bytes > 0) {
        return Ok(Parsed::Incomplete { missing });
    }
    let source = match told {
        Told::Ipv4 => rest.first_chunk().map(ipv4_source),
        Told::Ipv6 => rest.first_chunk().map(ipv6_source),
        Told::Nothing => None,
    };
    Ok(Parsed::Whole { source })
}

/// Which kind of address a header tells.
enum Told {
    Ipv4,
    Ipv6,
    Nothing,
}

/// Judges the fixed part, before anything behind it is read.
fn check(version_command: u8, family: u8, length: usize) -> Result<Told, Malformed> {
    let (version, command) = (version_command >> 4, version_command & 0x0f);
    if version != VERSION {
        return Err(Malformed::Version(version));
    }
    if length > REST_BYTES_MAX {
        return Err(Malformed::TooLong(length));
    }
    let (told, least) = match (command, family) {
        // Whatever a LOCAL header says of addresses is void.
        (COMMAND_LOCAL, _) => (Told::Nothing, 0),
        (COMMAND_PROXY, TCP_OVER_IPV4) => (Told::Ipv4, IPV4_BYTES),
        (COMMAND_PROXY, TCP_OVER_IPV6) => (Told::Ipv6, IPV6_BYTES),
        (COMMAND_PROXY, family) if WITHOUT_SOURCE.contains(&family) => (Told::Nothing, 0),
        (COMMAND_PROXY, family) => return Err(Malformed::Family(family)),
        (command, _) => return Err(Malformed::Command(command)),
    };
    if length < least {
        return Err(Malformed::TooShort(length));
    }
    Ok(told)
}

/// Source and destination address, source and destination port.
fn ipv4_source(addresses: &[u8; IPV4_BYTES]) -> SocketAddr {
    let [a, b, c, d, _, _, _, _, port_high, port_low, ..] = *addresses;
    let address = IpAddr::V4(Ipv4Addr::new(a, b, c, d));
    SocketAddr::new(address, u16::from_be_bytes([port_high, port_low]))
}

/// The same with longer addresses.
fn ipv6_source(addresses: &[u8; IPV6_BYTES]) -> SocketAddr {
    let [source @ .., port_high, port_low, _, _] = *addresses;
    let mut octets = [0; 16];
    octets.copy_from_slice(&source[..16]);
    let address = IpAddr::V6(Ipv6Addr::from(octets));
    SocketAddr::new(address, u16::from_be_bytes([port_high, port_low]))
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
