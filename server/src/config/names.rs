//! Settings that name something of an application.

use std::sync::Arc;

use serde_json::Value as Json;

use super::kinds::Kind;

/// The longest name of a member; it is part of every presence entry.
const MEMBER_BYTES_MAX: usize = 64;

/// Members that mean something to JavaScript itself.
const TAKEN: [&str; 3] = ["__proto__", "constructor", "prototype"];

/// The name of a member of a JSON object, or nothing.
#[derive(Debug)]
pub struct MemberName;

impl Kind for MemberName {
    type Value = Option<Arc<str>>;
    const SYNTAX: &'static str = "NAME";

    fn parse(text: &str) -> Result<Option<Arc<str>>, String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let is_name = text.len() <= MEMBER_BYTES_MAX && text.chars().all(is_plain);
        match is_name && !TAKEN.contains(&text) {
            true => Ok((!text.is_empty()).then(|| text.into())),
            false => Err(format!(
                "a name such as `verified`: up to {MEMBER_BYTES_MAX} letters, digits, `_` or `-`, and \
                 none that JavaScript uses itself"
            )),
        }
    }

    fn show(value: &Option<Arc<str>>) -> String {
        value.as_deref().unwrap_or_default().to_owned()
    }

    fn json(value: &Option<Arc<str>>) -> Json {
        value.as_deref().map_or(Json::Null, Json::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_nothing_is_none() {
        for name in ["verified", "_who-1", &"a".repeat(64)] {
            assert_eq!(MemberName::parse(name), Ok(Some(name.into())));
        }
        assert_eq!(MemberName::parse(""), Ok(None));
        let refused = [
            "__proto__",
            "constructor",
            "a b",
            "é",
            "a\"",
            &"a".repeat(65),
        ];
        for name in refused {
            assert!(MemberName::parse(name).is_err(), "{name}");
        }
    }
}
