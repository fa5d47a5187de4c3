//! Patterns of document names, and which of several counts.
//!
//! A star matches any run of characters, none and slashes included; everything else matches itself.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Right;

/// The most patterns in a token. A token has room for a few hundred of sensible length; the number
/// bounds what one question costs.
pub const PATTERNS_MAX: usize = 1_000;

/// Patterns with the right each gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns(BTreeMap<Box<str>, Right>);

impl Patterns {
    /// Adds one; false when there are [`PATTERNS_MAX`] or it is there already.
    pub(super) fn add(&mut self, pattern: &str, right: Right) -> bool {
        if self.0.len() >= PATTERNS_MAX || self.0.contains_key(pattern) {
            return false;
        }
        self.0.insert(pattern.into(), right);
        true
    }

    /// The right on the document of this name: that of the most specific pattern that matches it.
    pub fn right_for(&self, name: &str) -> Right {
        let matching = self.0.iter().filter(|(pattern, _)| matches(pattern, name));
        // Of two that are equally specific the lesser right counts.
        let best = matching.max_by_key(|(pattern, right)| (specificity(pattern), Reverse(*right)));
        best.map_or(Right::None, |(_, right)| *right)
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Right)> {
        self.0.iter().map(|(pattern, right)| (&**pattern, *right))
    }
}

/// Ordered from vague to specific: an exact name, then literal characters, then fewer stars.
fn specificity(pattern: &str) -> (bool, usize, Reverse<usize>) {
    let stars = pattern.bytes().filter(|byte| *byte == b'*').count();
    let literals = pattern.chars().count() - stars;
    (stars == 0, literals, Reverse(stars))
}

/// True when the pattern covers the whole name. Linear in both: each piece between two stars is
/// looked for once, at its first place, which leaves the most for those behind it.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let between = name.strip_prefix(first);
    let Some(mut between) = between.and_then(|rest| rest.strip_suffix(last)) else {
        return false;
    };
    for piece in middle.split('*') {
        let Some(at) = between.find(piece) else {
            return false;
        };
        between = &between[at + piece.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_match_any_run_and_nothing_else_is_special() {
        let table = [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "anything/at/all", true),
            ("**", "x", true),
            ("team/*", "team/plan", true),
            ("team/*", "team/", true),
            ("team/*", "team", false),
            ("team/*", "team/deep/down", true),
            ("*/plan", "a/b/plan", true),
            ("*/plan", "plan", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "abbc", true),
            ("a*b*c", "acb", false),
            ("a*bc*c", "abc", false),
            ("*ab*", "aab", true),
            ("?", "x", false),
            ("[ab]", "a", false),
            ("\u{fc}*", "\u{fc}ber", true),
            // The other spelling of the same letter is another name: nothing is normalised.
            ("\u{fc}*", "u\u{308}ber", false),
            ("a.c", "abc", false),
            ("", "a", false),
        ];
        for (pattern, name, wanted) in table {
            assert_eq!(matches(pattern, name), wanted, "{pattern} {name}");
        }
    }

    #[test]
    fn the_most_specific_pattern_counts() {
        use Right::{Admin, None, Read, Write};
        type Case<'a> = (&'a [(&'a str, Right)], &'a str, Right);
        let table: [Case<'_>; 9] = [
            (&[("*", Read), ("team/*", Write)], "team/a", Write),
            (&[("*", Write), ("team/*", Read)], "team/a", Read),
            (&[("*", Write), ("team/*", None)], "team/a", None),
            (&[("team/*", Write), ("team/a", Read)], "team/a", Read),
            (&[("team/*", Write)], "other", None),
            (&[], "a", None),
            // As many literal characters: the lesser right.
            (&[("a*", Write), ("*b", Read)], "ab", Read),
            (&[("*b", Read), ("a*", Write)], "ab", Read),
            // As many literal characters, fewer stars.
            (&[("*a*", Read), ("a*", Admin)], "ab", Admin),
        ];
        for (pairs, name, wanted) in table {
            assert_eq!(patterns(pairs).right_for(name), wanted, "{pairs:?} {name}");
        }
    }

    fn patterns(pairs: &[(&str, Right)]) -> Patterns {
        let mut patterns = Patterns::default();
        for (pattern, right) in pairs {
            assert!(patterns.add(pattern, *right));
        }
        patterns
    }

    #[test]
    fn patterns_are_bounded_and_distinct() {
        let mut patterns = Patterns::default();
        for index in 0..PATTERNS_MAX {
            assert!(patterns.add(&index.to_string(), Right::Read));
        }
        assert!(!patterns.add("one more", Right::Read));
        let mut patterns = Patterns::default();
        assert!(patterns.add("a", Right::Read));
        assert!(!patterns.add("a", Right::Write));
    }

    /// The definition, as slow as it comes.
    fn naive(pattern: &[char], name: &[char]) -> bool {
        match pattern.split_first() {
            Option::None => name.is_empty(),
            Some(('*', rest)) => (0..=name.len()).any(|at| naive(rest, &name[at..])),
            Some((first, rest)) => name
                .split_first()
                .is_some_and(|(head, tail)| head == first && naive(rest, tail)),
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_it_is_defined_to_be(
            pattern in "[ab*/é]{0,10}",
            name in "[ab/é]{0,12}",
        ) {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches(&pattern, &name), naive(&chars(&pattern), &chars(&name)));
        }
    }

    #[test]
    fn hostile_patterns_cost_no_more_than_their_length() {
        // Backtracking would take longer than the universe lasts.
        let pattern = "a*".repeat(8_000) + "b";
        let name = "a".repeat(512);
        assert!(!matches(&pattern, &name));
        assert!(matches(&"*".repeat(16_000), &name));
    }
}
