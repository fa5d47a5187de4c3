//! A presence state that says whose it is: one member of the object, written by the server alone.

use std::borrow::Cow;

use serde_json::Value;

/// A copy by assignment (`Object.assign`) would make this member the prototype, in which a reader
/// finds what the state itself has not.
const PROTOTYPE: &str = "__proto__";

/// White space of JSON (RFC 8259, section 2).
pub(super) const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// The state with `{"sub": subject}` as its member `field`, and nothing that could be read as that
/// member besides: whatever was written under this name, however often and with whatever escapes, is
/// removed, and so is `__proto__`. Without a subject there is no such member. All other members stay
/// as they are, in order. A state that is no object has no place for it and is returned unchanged.
///
/// The state has to be valid JSON; of anything else comes anything else, but no panic.
pub fn sign_state<'a>(state: &'a str, field: &str, subject: Option<&str>) -> Cow<'a, str> {
    let object = state.trim_matches(BLANKS);
    let inner = object
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    let Some(inner) = inner else {
        return Cow::Borrowed(state);
    };
    let is_kept = |member: &&str| !is_named(member, field) && !is_named(member, PROTOTYPE);
    let members = Members { rest: inner };
    if subject.is_none() && members.clone().all(|member| is_kept(&member)) {
        return Cow::Borrowed(state);
    }
    let mut signed = String::from("{");
    if let Some(subject) = subject {
        let (field, subject) = (Value::from(field), Value::from(subject));
        signed.push_str(&format!("{field}:{{\"sub\":{subject}}}"));
    }
    for member in members.filter(is_kept) {
        if signed.len() > 1 {
            signed.push(',');
        }
        signed.push_str(member);
    }
    signed.push('}');
    Cow::Owned(signed)
}

/// The members of an object, each with its name, from what stands between its braces.
#[derive(Clone)]
struct Members<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Members<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.rest.trim_matches(BLANKS).is_empty() {
            return None;
        }
        let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
        let is_end = |byte: u8| {
            if quoted {
                quoted = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
                return false;
            }
            match byte {
                b'"' => quoted = true,
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                b',' => return depth == 0,
                _ => {}
            }
            false
        };
        let end = self.rest.bytes().position(is_end);
        let (member, rest) = match end {
            Some(at) => (&self.rest[..at], &self.rest[at + 1..]),
            None => (self.rest, ""),
        };
        self.rest = rest;
        Some(member)
    }
}

/// Whether a member has this name, be it written with escapes.
fn is_named(member: &str, name: &str) -> bool {
    let Some(quoted) = quoted_name(member) else {
        return false;
    };
    let inner = &quoted[1..quoted.len() - 1];
    if !inner.contains('\\') {
        return inner == name;
    }
    // What is no text, such as half of a surrogate pair, is not the name of anything.
    serde_json::from_str::<String>(quoted).is_ok_and(|written| written == name)
}

/// The name of a member with its quotes.
fn quoted_name(member: &str) -> Option<&str> {
    let member = member.trim_start_matches(BLANKS);
    let inner = member.strip_prefix('"')?;
    let mut escaped = false;
    let end = inner.bytes().position(|byte| {
        let is_end = !escaped && byte == b'"';
        escaped = !escaped && byte == b'\\';
        is_end
    })?;
    member.get(..end + 2)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fmt;

    use proptest::prelude::*;
    use serde::Deserialize;
    use serde::de::{Deserializer, MapAccess, Visitor};

    use super::*;
    use crate::admission::is_valid_json;

    const FIELD: &str = "verified";

    #[test]
    fn the_member_is_written_once_and_the_rest_stays() {
        let table = [
            ("{}", r#"{"verified":{"sub":"ada"}}"#, "{}"),
            (" { }\n", r#"{"verified":{"sub":"ada"}}"#, " { }\n"),
            (
                r#"{"a":1, "b" : [1,{"verified":2}] }"#,
                r#"{"verified":{"sub":"ada"},"a":1, "b" : [1,{"verified":2}] }"#,
                r#"{"a":1, "b" : [1,{"verified":2}] }"#,
            ),
            (
                r#"{"verified":{"sub":"ben"}}"#,
                r#"{"verified":{"sub":"ada"}}"#,
                "{}",
            ),
            (
                r#"{"verified":1,"a":"}\",{\\","verified":[2,3], "verified" :{}}"#,
                r#"{"verified":{"sub":"ada"},"a":"}\",{\\"}"#,
                r#"{"a":"}\",{\\"}"#,
            ),
            (
                r#"{"\u0076erified":1,"a":2,"v\u0065rified":3}"#,
                r#"{"verified":{"sub":"ada"},"a":2}"#,
                r#"{"a":2}"#,
            ),
            (
                r#"{"__proto__":{"verified":{"sub":"ben"}},"a":2,"\u005f_proto__":3}"#,
                r#"{"verified":{"sub":"ada"},"a":2}"#,
                r#"{"a":2}"#,
            ),
            (
                r#"{"Verified":1,"verified ":2,"\ud800":3,"verif\u0131ed":4,"":5}"#,
                r#"{"verified":{"sub":"ada"},"Verified":1,"verified ":2,"\ud800":3,"verif\u0131ed":4,"":5}"#,
                r#"{"Verified":1,"verified ":2,"\ud800":3,"verif\u0131ed":4,"":5}"#,
            ),
            (
                "[{\"verified\":1}]",
                "[{\"verified\":1}]",
                "[{\"verified\":1}]",
            ),
            ("\"{}\"", "\"{}\"", "\"{}\""),
            ("7", "7", "7"),
            ("true", "true", "true"),
        ];
        for (state, signed, anonymous) in table {
            assert!(is_valid_json(state, 64), "{state}");
            assert_eq!(sign_state(state, FIELD, Some("ada")), signed, "{state}");
            assert_eq!(sign_state(state, FIELD, None), anonymous, "{state}");
        }
    }

    #[test]
    fn a_subject_says_what_it_says_and_nothing_more() {
        let subject = "a\"},\"sub\":\"ben\\\u{0}\u{2028}é";
        let signed = sign_state("{\"a\":1}", FIELD, Some(subject));
        let read: Value = serde_json::from_str(&signed).unwrap();
        assert_eq!(
            read,
            serde_json::json!({ "verified": { "sub": subject }, "a": 1 })
        );
    }

    #[test]
    fn no_text_makes_it_panic() {
        let table = [
            "",
            "{",
            "}",
            "{}}",
            "{,}",
            "{\"",
            "{\"\\",
            "{\"\\\"}",
            "{\"verified",
            "{\"é\":,}",
            "{:}",
            "{\"verified\"}",
            "{]]],\"}",
            "{\"\\u\":1}",
            "\u{feff}{}",
        ];
        for text in table {
            sign_state(text, FIELD, Some("ada"));
            sign_state(text, FIELD, None);
        }
        let deep = format!("{{\"a\":{}", "[".repeat(1 << 20));
        sign_state(&deep, FIELD, Some("ada"));
    }

    /// An object's members as a parser meets them, repeated ones included.
    #[derive(Debug, PartialEq)]
    struct Written(Vec<(String, Value)>);

    impl<'de> Deserialize<'de> for Written {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Reader;
            impl<'de> Visitor<'de> for Reader {
                type Value = Written;

                fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                    formatter.write_str("an object")
                }

                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written, A::Error> {
                    let mut members = Vec::new();
                    while let Some(member) = map.next_entry()? {
                        members.push(member);
                    }
                    Ok(Written(members))
                }
            }
            deserializer.deserialize_map(Reader)
        }
    }

    /// A name with some of its characters written as escapes.
    fn spelled(name: &str, escapes: u16) -> String {
        let letters = name.chars().enumerate().map(|(at, letter)| {
            match escapes >> (at % 16) & 1 == 1 || matches!(letter, '"' | '\\') || letter < ' ' {
                true => format!("\\u{:04x}", u32::from(letter)),
                false => letter.to_string(),
            }
        });
        letters.collect()
    }

    fn member() -> impl Strategy<Value = String> {
        let name = prop_oneof![
            Just(FIELD.to_owned()),
            Just(PROTOTYPE.to_owned()),
            "verifie|verified.|user|\\PC{0,4}|[\"\\\\{},:\\[\\]]{0,4}",
        ]
        // A spelling has four digits for a character.
        .prop_map(|name| name.replace(|letter| letter > '\u{ffff}', "x"));
        let text = "[a-z\"\\\\{},:\\[\\]\u{0}-\u{1f}é]{0,6}".prop_map(Value::from);
        let leaf = prop_oneof![
            text,
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
        ];
        let value = leaf.prop_recursive(3, 12, 4, |inner| {
            let list = prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from);
            let nested = inner.prop_map(|value| serde_json::json!({ FIELD: value }));
            prop_oneof![list, nested]
        });
        let blank = "[ \t\r\n]{0,2}";
        (blank, name, any::<u16>(), blank, blank, value).prop_map(
            |(before, name, escapes, middle, after, value)| {
                let name = spelled(&name, escapes);
                format!("{before}\"{name}\"{middle}:{after}{value}{before}")
            },
        )
    }

    proptest! {
        #[test]
        fn whatever_is_written_only_the_server_says_who_it_is(
            members in prop::collection::vec(member(), 0..6),
            subject in proptest::option::of("\\PC{1,20}|[\"\\\\]{1,4}"),
        ) {
            let state = format!(" {{{}}} ", members.join(","));
            prop_assert!(is_valid_json(&state, 64), "{}", state);
            let signed = sign_state(&state, FIELD, subject.as_deref());
            prop_assert!(is_valid_json(&signed, 64), "{}", signed);
            let read: Written = serde_json::from_str(&signed).unwrap();
            let mut wanted = subject
                .iter()
                .map(|subject| (FIELD.to_owned(), serde_json::json!({ "sub": subject })))
                .collect::<Vec<_>>();
            let Written(before) = serde_json::from_str(&state).unwrap();
            wanted.extend(
                before
                    .into_iter()
                    .filter(|(name, _)| name != FIELD && name != PROTOTYPE),
            );
            prop_assert_eq!(read, Written(wanted));
            let again = sign_state(&signed, FIELD, subject.as_deref());
            prop_assert_eq!(&again, &signed);
        }

        #[test]
        fn any_text_is_survived(text in "\\PC*|[{}\\[\\]\",:\\\\ver]{0,40}") {
            sign_state(&text, FIELD, Some("ada"));
            sign_state(&text, FIELD, None);
        }
    }
}
