//! Which documents of a source are imported, and under which names.

use std::borrow::Cow;

use driftless_proto::name::{DocumentName, NameError};

use crate::auth::pattern;

/// A name in which `*` stands for any text, slashes included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Takes the text as it was typed.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether all of `name` fits, by the rule that rights on documents are given by.
    pub fn matches(&self, name: &str) -> bool {
        pattern::matches(&self.0, name)
    }
}

/// How the names of a source become names here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameRules {
    /// Other documents are left out.
    pub only: Option<Pattern>,
    /// The source's names are raw paths of URLs, to be percent-decoded once.
    pub are_raw_paths: bool,
    /// Taken off names that start so.
    pub strip_prefix: String,
    /// Put before every name.
    pub add_prefix: String,
}

impl NameRules {
    /// Whether this document of the source is to be imported.
    pub(super) fn selects(&self, name: &str) -> bool {
        let Some(only) = &self.only else {
            return true;
        };
        match self.decoded(name) {
            Ok(name) => only.matches(&name),
            Err(_) => only.matches(name),
        }
    }

    /// The name here.
    pub(super) fn apply(&self, name: &str) -> Result<DocumentName, NameError> {
        let name = self.decoded(name)?;
        let rest = name.strip_prefix(self.strip_prefix.as_str());
        let rest = rest.unwrap_or(&name);
        if rest.is_empty() {
            return Err(NameError::Empty);
        }
        DocumentName::new(&format!("{}{rest}", self.add_prefix))
    }

    fn decoded<'a>(&self, name: &'a str) -> Result<Cow<'a, str>, NameError> {
        if !self.are_raw_paths {
            return Ok(Cow::Borrowed(name));
        }
        let decoded = DocumentName::from_raw_path(name)?;
        Ok(Cow::Owned(decoded.as_str().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        let table = [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "a", true),
            ("a*", "a/b/c", true),
            ("*c", "a/b/c", true),
            ("a*c", "ac", true),
            ("a*c", "a", false),
            ("aa*aa", "aaa", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "acb", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
        ];
        for (pattern, name, wanted) in table {
            assert_eq!(
                Pattern::new(pattern).matches(name),
                wanted,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn names_are_renamed_and_bounded() {
        let rules = |strip: &str, add: &str, are_raw_paths| NameRules {
            only: None,
            are_raw_paths,
            strip_prefix: strip.to_owned(),
            add_prefix: add.to_owned(),
        };
        let named = |rules: &NameRules, name: &str| {
            let applied = rules.apply(name);
            applied.map(|name| name.as_str().to_owned())
        };
        let renamed = rules("old/", "new/", false);
        assert_eq!(named(&renamed, "old/a").unwrap(), "new/a");
        assert_eq!(named(&renamed, "b%20").unwrap(), "new/b%20");
        assert_eq!(named(&renamed, "old/"), Err(NameError::Empty));
        assert_eq!(named(&rules("", "x/", false), ""), Err(NameError::Empty));
        let raw = rules("", "", true);
        assert_eq!(named(&raw, "my%20room").unwrap(), "my room");
        assert_eq!(named(&raw, "100%"), Err(NameError::BadEscape));
        let only = NameRules {
            only: Some(Pattern::new("my room*")),
            ..raw.clone()
        };
        assert!(only.selects("my%20room") && !only.selects("my%2520room"));
        let long = "a".repeat(513);
        assert!(named(&raw, &long).is_err());
    }
}
