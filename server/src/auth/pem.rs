//! The little of PEM and DER that the libraries leave open: several blocks in a file, the length of
//! an RSA key, and private JWKs as what ring reads.

/// One block, from its first dash to its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block<'a> {
    /// `PUBLIC KEY`
    pub(super) label: &'a str,
    /// All of it, for a reader of one block.
    pub(super) text: &'a str,
}

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

/// The blocks of a text in their order; what stands between them is comment (RFC 7468 section 2).
pub(super) fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(BEGIN) {
        rest = &rest[start..];
        let Some((label, _)) = rest[BEGIN.len()..].split_once(DASHES) else {
            break;
        };
        let end = format!("-----END {label}-----");
        let Some(at) = rest.find(&end) else {
            break;
        };
        let (text, behind) = rest.split_at(at + end.len());
        blocks.push(Block { label, text });
        rest = behind;
    }
    blocks
}

/// The modulus of an `RSAPublicKey` (RFC 8017 appendix A.1.1): the first integer of a sequence.
pub(super) fn rsa_modulus(der: &[u8]) -> Option<&[u8]> {
    let (sequence, _) = element(der, 0x30)?;
    let (modulus, _) = element(sequence, 0x02)?;
    Some(modulus)
}

/// Content of the element with this tag at the front, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        // The long form; keys of this size need at most two bytes.
        0x81 | 0x82 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            let length = bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    (first == tag).then_some((content, rest))
}

/// PKCS#8 of an Ed25519 seed, without its public half: RFC 8410 section 7. Newer forms with both
/// are refused by OpenSSL.
pub(super) fn ed25519_pkcs8(seed: &[u8; 32]) -> Vec<u8> {
    const HEAD: [u8; 16] = [
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    [&HEAD[..], seed].concat()
}

/// `SubjectPublicKeyInfo` of an Ed25519 key: RFC 8410 section 4.
pub(super) fn ed25519_spki(point: &[u8; 32]) -> Vec<u8> {
    const HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
    [&HEAD[..], point].concat()
}

/// The algorithm of keys on P-256: `ecPublicKey` with `prime256v1` (RFC 5480 section 2.1.1).
const P256_ALGORITHM: [u8; 21] = [
    0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1,
    7,
];

/// PKCS#8 of a key on P-256 with its public half: RFC 5915 section 3 within RFC 5208.
pub(super) fn p256_pkcs8(scalar: &[u8; 32], point: &[u8; 65]) -> Vec<u8> {
    let private = [&[0x30, 0x6b, 2, 1, 1, 4, 0x20][..], scalar].concat();
    let public = [&[0xa1, 0x44, 3, 0x42, 0][..], point].concat();
    let head: [&[u8]; 4] = [
        &[0x30, 0x81, 0x87, 2, 1, 0],
        &P256_ALGORITHM,
        &[4, 0x6d],
        &private,
    ];
    [&head.concat()[..], &public].concat()
}

/// `SubjectPublicKeyInfo` of a point on P-256: RFC 5480 section 2.
pub(super) fn p256_spki(point: &[u8; 65]) -> Vec<u8> {
    [&[0x30, 0x59][..], &P256_ALGORITHM, &[3, 0x42, 0], point].concat()
}

/// `RSAPrivateKey` (RFC 8017 appendix A.1.2) of its nine numbers behind the version: n, e, d, p, q,
/// dp, dq and qi, each big-endian.
pub(super) fn rsa_pkcs1(numbers: [&[u8]; 8]) -> Vec<u8> {
    let mut content = vec![2, 1, 0];
    for number in numbers {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let mut digits = number[zeros..].to_vec();
        if digits.first().is_none_or(|byte| *byte >= 0x80) {
            digits.insert(0, 0);
        }
        content.extend(written(2, &digits));
    }
    written(0x30, &content)
}

/// One element.
fn written(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let length = &length[zeros..];
    let mut bytes = vec![tag];
    match length {
        [] => bytes.push(0),
        [short] if *short < 0x80 => bytes.push(*short),
        long => {
            bytes.push(0x80 | long.len() as u8);
            bytes.extend(long);
        }
    }
    bytes.extend(content);
    bytes
}

/// Armours DER in lines of 64 characters.
pub(super) fn armoured(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = format!("{BEGIN}{label}{DASHES}\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem + &format!("-----END {label}{DASHES}\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn blocks_are_found_among_comments_and_cut_ones_are_left_out() {
        let one = armoured("PUBLIC KEY", &[7; 100]);
        let two = armoured("X", b"");
        let text = format!("# first\r\n{one}\ncomment\n{two}-----BEGIN Y-----\nAAAA\n");
        let found = blocks(&text);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].label, found[1].label), ("PUBLIC KEY", "X"));
        assert_eq!(found[0].text, one.trim_end());
        for cut in 0..one.len() - 1 {
            assert!(blocks(&one[..cut]).is_empty(), "{cut}");
        }
    }

    #[test]
    fn lengths_of_elements_are_written_and_read_alike() {
        for length in [0, 1, 127, 128, 255, 256, 300, 65_535] {
            let content = vec![1; length];
            let bytes = written(2, &content);
            assert_eq!(
                element(&bytes, 2),
                Some((&content[..], &[][..])),
                "{length}"
            );
            assert_eq!(element(&bytes, 3), None);
            assert_eq!(element(&bytes[..bytes.len() - 1], 2), None);
        }
        assert_eq!(
            rsa_modulus(&written(0x30, &written(2, &[5, 6]))),
            Some(&[5, 6][..])
        );
        for broken in [
            &[][..],
            &[0x30],
            &[0x30, 0x83, 0, 0, 1, 0],
            &[0x30, 0x82, 1],
        ] {
            assert_eq!(rsa_modulus(broken), None);
        }
    }
}
