//! What a token says, read strictly: a claim of the wrong form makes the token unreadable.
//!
//! RFC 7519 section 4.1 names `sub`, `exp`, `nbf`, `iat`, `jti`, `aud` and `iss`; rights stand in
//! `driftless.docs` and `driftless.relay`, flat (a dot in the name) or nested.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::Right;
use super::pattern::{PATTERNS_MAX, Patterns};

/// The longest `sub` and `jti` in bytes: they are stored with edits and compared with revocations.
pub const IDENTITY_BYTES_MAX: usize = 256;

/// The last second of the year 9999. A larger number is not a time but milliseconds by mistake.
pub(super) const SECONDS_MAX: u64 = 253_402_300_799;

/// The claims of a token.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Claims {
    /// `sub`: who it is.
    pub subject: Option<String>,
    /// `jti`: the token's own id.
    pub token_id: Option<String>,
    /// `iat` in milliseconds since 1970.
    pub issued_at_ms: Option<u64>,
    /// `exp` in milliseconds since 1970.
    pub expires_at_ms: u64,
    /// `nbf` in milliseconds since 1970.
    pub not_before_ms: Option<u64>,
    /// `aud`; empty when it is missing.
    pub audiences: Vec<String>,
    /// `iss`.
    pub issuer: Option<String>,
    /// `driftless.docs`; empty when it is missing.
    pub documents: Patterns,
    /// `driftless.relay`.
    pub may_relay: bool,
}

/// Claims as they are written. Known names that come twice are refused by the derived reader,
/// unknown ones are skipped without being kept.
#[derive(Deserialize)]
struct Written {
    sub: Option<Identity>,
    jti: Option<Identity>,
    iat: Option<Time>,
    exp: Time,
    nbf: Option<Time>,
    aud: Option<Audience>,
    iss: Option<String>,
    #[serde(rename = "driftless.docs")]
    flat_documents: Option<Documents>,
    #[serde(rename = "driftless.relay")]
    flat_relay: Option<bool>,
    driftless: Option<Nested>,
}

#[derive(Deserialize, Default)]
struct Nested {
    docs: Option<Documents>,
    relay: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let nested = written.driftless.unwrap_or_default();
        Ok(Self {
            subject: written.sub.map(|sub| sub.0),
            token_id: written.jti.map(|jti| jti.0),
            issued_at_ms: written.iat.map(|iat| iat.0),
            expires_at_ms: written.exp.0,
            not_before_ms: written.nbf.map(|nbf| nbf.0),
            audiences: match written.aud {
                Option::None => Vec::new(),
                Some(Audience::One(one)) => vec![one],
                Some(Audience::Several(several)) => several,
            },
            issuer: written.iss,
            documents: once(written.flat_documents, nested.docs, "driftless.docs")?
                .map(|documents| documents.0)
                .unwrap_or_default(),
            may_relay: once(written.flat_relay, nested.relay, "driftless.relay")?.unwrap_or(false),
        })
    }
}

/// A claim may be flat or nested; both at a time could contradict each other.
fn once<T, E: de::Error>(
    flat: Option<T>,
    nested: Option<T>,
    name: &'static str,
) -> Result<Option<T>, E> {
    match (flat, nested) {
        (Some(_), Some(_)) => Err(E::duplicate_field(name)),
        (flat, nested) => Ok(flat.or(nested)),
    }
}

/// A name of somebody or something: not empty, bounded.
struct Identity(String);

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.len() {
            1..=IDENTITY_BYTES_MAX => Ok(Self(text)),
            length => Err(de::Error::invalid_length(length, &"1 to 256 bytes")),
        }
    }
}

/// A `NumericDate` (RFC 7519 section 2) in milliseconds: seconds since 1970, with a fraction if the
/// issuer likes.
struct Time(u64);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seconds;
        impl Visitor<'_> for Seconds {
            type Value = Time;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("seconds since 1970")
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Time, E> {
                let is_time = seconds <= SECONDS_MAX;
                let time = is_time.then(|| Time(seconds * 1_000));
                time.ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(seconds), &self))
            }

            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Time, E> {
                // Not a number is in no range.
                if (0.0..=SECONDS_MAX as f64).contains(&seconds) {
                    return Ok(Time((seconds * 1_000.0) as u64));
                }
                Err(E::invalid_value(de::Unexpected::Float(seconds), &self))
            }
        }
        deserializer.deserialize_any(Seconds)
    }
}

/// `{"team/*": "write"}`, each pattern once.
struct Documents(Patterns);

impl<'de> Deserialize<'de> for Documents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Documents;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(
                    formatter,
                    "patterns with their rights, each once, at most {PATTERNS_MAX}"
                )
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Documents, A::Error> {
                let mut patterns = Patterns::default();
                while let Some((pattern, right)) = map.next_entry::<String, String>()? {
                    let right: Right = right.parse().map_err(de::Error::custom)?;
                    if !patterns.add(&pattern, right) {
                        return Err(de::Error::invalid_length(PATTERNS_MAX, &self));
                    }
                }
                Ok(Documents(patterns))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn all_claims_are_read_flat_and_nested() {
        let flat = r#"{"sub":"ada","jti":"t1","iat":1,"exp":2,"nbf":3.5,"aud":"me","iss":"you",
            "driftless.docs":{"team/*":"write"},"driftless.relay":true,"email":"a@b","roles":[[1]]}"#;
        let nested = r#"{"sub":"ada","jti":"t1","iat":1.0,"exp":2,"nbf":3.5,"aud":["me"],
            "iss":"you","driftless":{"docs":{"team/*":"write"},"relay":true,"more":1}}"#;
        let flat: Claims = serde_json::from_str(flat).unwrap();
        assert_eq!(flat, serde_json::from_str(nested).unwrap());
        assert_eq!(flat.subject.as_deref(), Some("ada"));
        assert_eq!(flat.token_id.as_deref(), Some("t1"));
        assert_eq!(
            (flat.issued_at_ms, flat.expires_at_ms),
            (Some(1_000), 2_000)
        );
        assert_eq!(flat.not_before_ms, Some(3_500));
        assert_eq!(flat.audiences, ["me"]);
        assert_eq!(flat.issuer.as_deref(), Some("you"));
        assert_eq!(flat.documents.right_for("team/a"), Right::Write);
        assert!(flat.may_relay);
    }

    #[test]
    fn what_is_missing_gives_nothing() {
        let claims: Claims = serde_json::from_str(r#"{"exp":1,"sub":null,"aud":null}"#).unwrap();
        let wanted = Claims {
            expires_at_ms: 1_000,
            ..Claims::default()
        };
        assert_eq!(claims, wanted);
        assert_eq!(claims.documents.right_for("a"), Right::None);
    }

    #[test]
    fn anything_of_the_wrong_form_is_refused() {
        let table = [
            "{}",
            "[]",
            "null",
            "1",
            r#"{"exp":null}"#,
            r#"{"exp":"1"}"#,
            r#"{"exp":-1}"#,
            r#"{"exp":-0.5}"#,
            r#"{"exp":1e400}"#,
            r#"{"exp":1e300}"#,
            r#"{"exp":253402300800}"#,
            r#"{"exp":18446744073709551615}"#,
            r#"{"exp":18446744073709551616}"#,
            r#"{"exp":true}"#,
            r#"{"exp":[1]}"#,
            r#"{"exp":1,"exp":2}"#,
            r#"{"exp":1,"nbf":"0"}"#,
            r#"{"exp":1,"iat":-1}"#,
            r#"{"exp":1,"sub":1}"#,
            r#"{"exp":1,"sub":""}"#,
            r#"{"exp":1,"sub":"a","sub":"b"}"#,
            r#"{"exp":1,"aud":1}"#,
            r#"{"exp":1,"aud":[1]}"#,
            r#"{"exp":1,"iss":["a"]}"#,
            r#"{"exp":1,"driftless.docs":["*"]}"#,
            r#"{"exp":1,"driftless.docs":"*"}"#,
            r#"{"exp":1,"driftless.docs":{"*":"owner"}}"#,
            r#"{"exp":1,"driftless.docs":{"*":1}}"#,
            r#"{"exp":1,"driftless.docs":{"*":"read","*":"write"}}"#,
            r#"{"exp":1,"driftless.docs":{},"driftless.docs":{}}"#,
            r#"{"exp":1,"driftless.docs":{"*":"read"},"driftless":{"docs":{"*":"write"}}}"#,
            r#"{"exp":1,"driftless.relay":"true"}"#,
            r#"{"exp":1,"driftless.relay":true,"driftless":{"relay":false}}"#,
            r#"{"exp":1,"driftless":{"docs":{},"docs":{}}}"#,
            r#"{"exp":1,"driftless":{},"driftless":{}}"#,
            r#"{"exp":1} x"#,
        ];
        for text in table {
            assert!(serde_json::from_str::<Claims>(text).is_err(), "{text}");
        }
        let nested = "[".repeat(5_000) + &"]".repeat(5_000);
        for name in ["aud", "sub", "driftless", "driftless.docs"] {
            let deep = format!(r#"{{"exp":1,"{name}":{nested}}}"#);
            assert!(serde_json::from_str::<Claims>(&deep).is_err(), "{name}");
        }
        let long = format!(r#"{{"exp":1,"sub":"{}"}}"#, "a".repeat(257));
        assert!(serde_json::from_str::<Claims>(&long).is_err());
        let many: Vec<_> = (0..=PATTERNS_MAX)
            .map(|n| format!(r#""{n}":"read""#))
            .collect();
        let many = format!(r#"{{"exp":1,"driftless.docs":{{{}}}}}"#, many.join(","));
        assert!(serde_json::from_str::<Claims>(&many).is_err());
    }
}
