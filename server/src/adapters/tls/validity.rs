//! From when until when a certificate is valid, read from its bytes.
//!
//! rustls checks the certificates of others, not its own, and keeps their dates to itself. They
//! stand at a fixed place of the structure in RFC 5280 section 4.1; nothing else of it is read.

/// The times a certificate is valid between, both in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// It is valid from this second on.
    pub not_before: u64,
    /// It is valid up to this second.
    pub not_after: u64,
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
/// The version, which the first version leaves out.
const EXPLICIT_0: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

impl Validity {
    /// Reads it from a certificate in DER; `None` when that is no certificate.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let (certificate, _) = expect(SEQUENCE, certificate)?;
        let (mut rest, _) = expect(SEQUENCE, certificate)?;
        if rest.first() == Some(&EXPLICIT_0) {
            (_, rest) = expect(EXPLICIT_0, rest)?;
        }
        // Serial number, signature algorithm, issuer.
        for tag in [INTEGER, SEQUENCE, SEQUENCE] {
            (_, rest) = expect(tag, rest)?;
        }
        let (dates, _) = expect(SEQUENCE, rest)?;
        let (not_before, rest) = time(dates)?;
        let (not_after, _) = time(rest)?;
        Some(Self {
            not_before,
            not_after,
        })
    }
}

impl Validity {
    /// Why clients refuse it at this time (seconds since 1970), if they do.
    pub fn problem(&self, now: u64) -> Option<&'static str> {
        if now < self.not_before {
            Some("is not valid yet")
        } else if now > self.not_after {
            Some("has expired")
        } else {
            None
        }
    }

    /// Whole days that are left at this time (seconds since 1970).
    pub fn days_left(&self, now: u64) -> u64 {
        self.not_after.saturating_sub(now) / 86_400
    }
}

/// The content of the element that `bytes` begin with, and what is behind it.
fn expect(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(bytes)?;
    (found == tag).then_some((content, rest))
}

fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], mut rest) = bytes.split_first_chunk()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let count = usize::from(first & 0x7f);
        // Longer than 16 MiB is no certificate.
        if count == 0 || count > 3 {
            return None;
        }
        let (digits, behind) = rest.split_at_checked(count)?;
        rest = behind;
        length = digits
            .iter()
            .fold(0, |length, &digit| length << 8 | usize::from(digit));
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`, the only forms RFC 5280 allows.
fn time(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (tag, text, rest) = element(bytes)?;
    let (year, text) = match tag {
        UTC_TIME => {
            let (year, text) = number(text, 2)?;
            (if year < 50 { 2_000 } else { 1_900 } + year, text)
        }
        GENERALIZED_TIME => number(text, 4)?,
        _ => return None,
    };
    let (month, text) = number(text, 2)?;
    let (day, text) = number(text, 2)?;
    let (hour, text) = number(text, 2)?;
    let (minute, text) = number(text, 2)?;
    let (second, text) = number(text, 2)?;
    if text != b"Z" || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_since_1970(year, month, day);
    Some((days * 86_400 + hour * 3_600 + minute * 60 + second, rest))
}

fn number(text: &[u8], digits: usize) -> Option<(u64, &[u8])> {
    let (text, rest) = text.split_at_checked(digits)?;
    let is_number = text.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(text).ok()?.parse().ok()?;
    is_number.then_some((number, rest))
}

/// Hinnant's `days_from_civil`; 0 for anything before 1970.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    // Years start in March here, so that a leap day comes last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year.saturating_sub(1), month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    days.saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(tag: u8, text: &str) -> Option<u64> {
        let element = [&[tag, text.len() as u8], text.as_bytes()].concat();
        Some(time(&element)?.0)
    }

    #[test]
    fn both_forms_of_a_time_are_read() {
        let table = [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "000229000000Z", Some(951_782_400)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (GENERALIZED_TIME, "21000101000000Z", Some(4_102_444_800)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (UTC_TIME, "701301000000Z", None),
            (UTC_TIME, "7001010000Z", None),
            (UTC_TIME, "700101000000+0100", None),
            (UTC_TIME, "+70101000000Z", None),
            (INTEGER, "700101000000Z", None),
        ];
        for (tag, text, wanted) in table {
            assert_eq!(read(tag, text), wanted, "{text}");
        }
    }

    #[test]
    fn both_ends_are_still_valid() {
        let validity = Validity {
            not_before: 100,
            not_after: 100 + 86_400,
        };
        assert_eq!(validity.problem(99), Some("is not valid yet"));
        assert_eq!(validity.problem(100), None);
        assert_eq!(validity.problem(86_500), None);
        assert_eq!(validity.problem(86_501), Some("has expired"));
        assert_eq!((validity.days_left(100), validity.days_left(101)), (1, 0));
        assert_eq!(validity.days_left(u64::MAX), 0);
    }

    #[test]
    fn a_certificate_that_is_cut_anywhere_is_none() {
        let pair = crate::adapters::tls::tests::Pair::new("a.example");
        let der = pair.certificate.as_ref();
        let validity = Validity::of(der).unwrap();
        // What the generator writes when it is told nothing else.
        assert_eq!(validity.not_before, 157_766_400);
        assert_eq!(validity.not_after, 67_090_118_400);
        for length in 0..der.len() {
            assert_eq!(Validity::of(&der[..length]), None, "{length} bytes");
        }
    }
}
