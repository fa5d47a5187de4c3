//! Sizes and durations as people write them.

/// Binary units first: they are what a size is shown in.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

const DURATION_UNITS: [(&str, u64); 6] = [
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads `32MiB`, `1GB`, `4096`; a unit in any case, no fractions.
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    if unit.is_empty() {
        return Some(number);
    }
    let matches = |known: &&(&str, u64)| known.0.eq_ignore_ascii_case(unit);
    number.checked_mul(SIZE_UNITS.iter().find(matches)?.1)
}

/// Writes a size in the largest binary unit that divides it.
pub fn show_size(bytes: u64) -> String {
    let divides = |unit: &&(&str, u64)| bytes > 0 && bytes.is_multiple_of(unit.1);
    match SIZE_UNITS[..4].iter().find(divides) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => bytes.to_string(),
    }
}

/// Reads `7d`, `30s`, `1500ms` and the unitless `0`.
pub fn parse_duration_ms(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    if unit.is_empty() {
        return (number == 0).then_some(0);
    }
    number.checked_mul(DURATION_UNITS.iter().find(|known| known.0 == unit)?.1)
}

/// Writes a duration in the largest unit that divides it; weeks are shown as days.
pub fn show_duration_ms(duration_ms: u64) -> String {
    let divides = |unit: &&(&str, u64)| duration_ms > 0 && duration_ms.is_multiple_of(unit.1);
    match DURATION_UNITS[1..].iter().find(divides) {
        Some((unit, factor)) => format!("{}{unit}", duration_ms / factor),
        None => "0ms".into(),
    }
}

/// Splits `32MiB` into 32 and `MiB`; a blank between them is fine.
fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        let table = [
            ("0", Some(0), "0"),
            ("4096", Some(4096), "4KiB"),
            ("4097", Some(4097), "4097"),
            ("32MiB", Some(32 << 20), "32MiB"),
            ("32 mib", Some(32 << 20), "32MiB"),
            ("1GB", Some(1_000_000_000), "1000000000"),
            ("64kb", Some(64_000), "64000"),
            ("1.5GiB", None, ""),
            ("-1", None, ""),
            ("MiB", None, ""),
            ("", None, ""),
            ("32M", None, ""),
            ("99999999999TiB", None, ""),
            ("99999999999999999999999", None, ""),
        ];
        for (text, wanted, shown) in table {
            assert_eq!(parse_size(text), wanted, "{text}");
            if let Some(bytes) = wanted {
                assert_eq!(show_size(bytes), shown, "{text}");
                assert_eq!(parse_size(&show_size(bytes)), Some(bytes), "{text}");
            }
        }
    }

    #[test]
    fn durations_are_read_and_shown() {
        let table = [
            ("0", Some(0), "0ms"),
            ("1500ms", Some(1_500), "1500ms"),
            ("30s", Some(30_000), "30s"),
            ("60 s", Some(60_000), "1m"),
            ("5m", Some(300_000), "5m"),
            ("12h", Some(43_200_000), "12h"),
            ("7d", Some(604_800_000), "7d"),
            ("1w", Some(604_800_000), "7d"),
            ("7", None, ""),
            ("7D", None, ""),
            ("1.5h", None, ""),
            ("d", None, ""),
            ("18446744073709551615d", None, ""),
        ];
        for (text, wanted, shown) in table {
            assert_eq!(parse_duration_ms(text), wanted, "{text}");
            if let Some(duration_ms) = wanted {
                assert_eq!(show_duration_ms(duration_ms), shown, "{text}");
            }
        }
    }
}
