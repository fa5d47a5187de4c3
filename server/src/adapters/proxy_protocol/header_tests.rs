//! Headers of the PROXY protocol byte by byte: golden, hostile and made up.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// `PROXY TCP4 192.168.0.1 192.168.0.11 56324 443`, the example of the specification.
const IPV4: &[u8] = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x0c\
    \xc0\xa8\x00\x01\xc0\xa8\x00\x0b\xdc\x04\x01\xbb";
/// From 2001:db8::1 port 56324 to 2001:db8::2 port 443.
const IPV6: &[u8] = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x21\x00\x24\
    \x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\
    \x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\xdc\x04\x01\xbb";
/// What HAProxy sends for its own health checks.
const LOCAL: &[u8] = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x20\x00\x00\x00";

/// A header from its parts, its length as it is.
fn header(version_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[version_command, family], &length, rest].concat()
}

fn whole(source: Option<&str>) -> Result<Parsed, Malformed> {
    let source = source.map(|text| text.parse().unwrap());
    Ok(Parsed::Whole { source })
}

#[test]
fn golden_headers_tell_their_source() {
    let with_tlv = header(
        0x21,
        0x11,
        &[&IPV4[16..], b"\x03\x00\x04\xfd\x16\xee\x2e"].concat(),
    );
    let unix = header(0x21, 0x31, &[b'/'; 216]);
    let table: [(&str, &[u8], Option<&str>); 10] = [
        ("IPv4", IPV4, Some("192.168.0.1:56324")),
        ("IPv6", IPV6, Some("[2001:db8::1]:56324")),
        ("a checksum behind", &with_tlv, Some("192.168.0.1:56324")),
        ("LOCAL", LOCAL, None),
        (
            "LOCAL with an address",
            &header(0x20, 0x11, &IPV4[16..]),
            None,
        ),
        ("LOCAL of a strange family", &header(0x20, 0xff, b"x"), None),
        ("unspecified", &header(0x21, 0x00, b""), None),
        (
            "unspecified with bytes",
            &header(0x21, 0x00, &[7; 40]),
            None,
        ),
        ("UDP", &header(0x21, 0x12, &IPV4[16..]), None),
        ("a unix socket", &unix, None),
    ];
    for (what, bytes, source) in table {
        assert_eq!(parse(bytes), whole(source), "{what}");
    }
}

#[test]
fn what_is_no_header_is_refused_with_its_reason() {
    let refused = |bytes: &[u8]| parse(bytes).unwrap_err();
    let mut wrong_signature = IPV4.to_vec();
    wrong_signature[11] = 0;
    let mut huge = LOCAL.to_vec();
    huge[14..].copy_from_slice(&[0xff, 0xff]);
    let longer = header(0x21, 0x11, &[0; REST_BYTES_MAX + 1]);
    let table: [(&str, &[u8], Malformed); 14] = [
        ("HTTP", b"GET / HTTP/1.1\r\n", Malformed::Signature),
        ("one byte of HTTP", b"G", Malformed::Signature),
        (
            "version 1",
            b"PROXY TCP4 192.168.0.1 ",
            Malformed::Signature,
        ),
        ("TLS", b"\x16\x03\x01", Malformed::Signature),
        ("a wrong signature", &wrong_signature, Malformed::Signature),
        (
            "version 1 in binary",
            &header(0x11, 0x11, &IPV4[16..]),
            Malformed::Version(1),
        ),
        (
            "version 3",
            &header(0x31, 0x11, &IPV4[16..]),
            Malformed::Version(3),
        ),
        (
            "a strange command",
            &header(0x22, 0x11, &IPV4[16..]),
            Malformed::Command(2),
        ),
        (
            "a strange family",
            &header(0x21, 0x41, &[0; 36]),
            Malformed::Family(0x41),
        ),
        (
            "a strange transport",
            &header(0x21, 0x13, &[0; 36]),
            Malformed::Family(0x13),
        ),
        (
            "short IPv4",
            &header(0x21, 0x11, &[0; 11]),
            Malformed::TooShort(11),
        ),
        (
            "short IPv6",
            &header(0x21, 0x21, &IPV4[16..]),
            Malformed::TooShort(12),
        ),
        ("a huge length", &huge, Malformed::TooLong(0xffff)),
        (
            "just too long",
            &longer[..FIXED_BYTES],
            Malformed::TooLong(2_049),
        ),
    ];
    for (what, bytes, wanted) in table {
        assert_eq!(refused(bytes), wanted, "{what}");
        assert!(!wanted.reason().is_empty() && wanted.to_string().contains("PROXY"));
    }
}

#[test]
fn every_prefix_asks_for_no_more_than_belongs_to_the_header() {
    let longest = header(0x21, 0x11, &[1; REST_BYTES_MAX]);
    for golden in [IPV4, IPV6, LOCAL, &longest] {
        for length in 0..golden.len() {
            let target = if length < FIXED_BYTES {
                FIXED_BYTES
            } else {
                golden.len()
            };
            let missing = target - length;
            assert_eq!(parse(&golden[..length]), Ok(Parsed::Incomplete { missing }));
        }
        assert!(matches!(parse(golden), Ok(Parsed::Whole { .. })));
    }
}

proptest! {
    #[test]
    fn no_bytes_break_it(fixed in any::<[u8; 4]>(), rest in prop::collection::vec(any::<u8>(), 0..80)) {
        let bytes = [&SIGNATURE[..], &fixed, &rest].concat();
        let whole = parse(&bytes);
        for length in 0..bytes.len() {
            match parse(&bytes[..length]) {
                Ok(Parsed::Incomplete { missing }) => {
                    prop_assert!((1..=REST_BYTES_MAX.max(FIXED_BYTES)).contains(&missing));
                }
                // Once it is judged, nothing that follows changes the verdict.
                verdict => prop_assert_eq!(verdict, whole),
            }
        }
        let _ = parse(&rest);
    }

    #[test]
    fn one_flipped_bit_of_the_signature_is_seen(byte in 0..SIGNATURE.len(), bit in 0..8) {
        let mut bytes = IPV4.to_vec();
        bytes[byte] ^= 1_u8 << bit;
        prop_assert_eq!(parse(&bytes[..=byte]), Err(Malformed::Signature));
        prop_assert_eq!(parse(&bytes), Err(Malformed::Signature));
    }

    #[test]
    fn every_source_comes_back_whatever_follows_it(
        address in any::<IpAddr>(),
        port in any::<u16>(),
        to in any::<[u8; 16]>(),
        tlvs in prop::collection::vec(any::<u8>(), 0..200),
        behind in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let (family, from) = match address {
            IpAddr::V4(address) => (TCP_OVER_IPV4, address.octets().to_vec()),
            IpAddr::V6(address) => (TCP_OVER_IPV6, address.octets().to_vec()),
        };
        let to = &to[..from.len()];
        let rest = [&from, to, &port.to_be_bytes(), &[0, 80], &tlvs].concat();
        let bytes = [header(0x21, family, &rest), behind].concat();
        let source = Some(SocketAddr::new(address, port));
        prop_assert_eq!(parse(&bytes), Ok(Parsed::Whole { source }));
    }
}
