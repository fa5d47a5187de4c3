//! All restrictions of a node, so that the few that may concern a visitor are found at once.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::restriction::Restriction;
use super::selection::Visitor;
use crate::auth::Right;

/// Restrictions, sorted by what they are found by. Those by a pattern alone are looked at one by one.
#[derive(Debug, Default)]
pub struct RestrictionSet {
    /// Sorted by id.
    all: Vec<Arc<Restriction>>,
    by_token_id: HashMap<String, Vec<Arc<Restriction>>>,
    by_subject: HashMap<String, Vec<Arc<Restriction>>>,
    by_document: HashMap<String, Vec<Arc<Restriction>>>,
    by_pattern: Vec<Arc<Restriction>>,
}

impl RestrictionSet {
    /// A set of these, each id once.
    pub fn new(restrictions: impl IntoIterator<Item = Arc<Restriction>>) -> Self {
        let mut all: Vec<_> = restrictions.into_iter().collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all.dedup_by(|a, b| a.id == b.id);
        let mut set = Self::default();
        for one in &all {
            let place = match &one.on {
                on if on.token_id.is_some() => of(&mut set.by_token_id, &on.token_id),
                on if on.subject.is_some() => of(&mut set.by_subject, &on.subject),
                on if on.document.as_ref().is_some_and(|it| !it.contains('*')) => {
                    of(&mut set.by_document, &on.document)
                }
                _ => &mut set.by_pattern,
            };
            place.push(one.clone());
        }
        set.all = all;
        set
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// True when nobody is restricted.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Restriction>> {
        self.all.iter()
    }

    /// The most that a visitor may do at this time; [`Right::Admin`] where nothing is taken away.
    pub fn right_max(&self, visitor: &Visitor<'_>, now_ms: u64) -> Right {
        let covering = self
            .near(visitor)
            .filter(|one| one.covers(visitor) && !one.is_over(now_ms));
        let rights = covering.map(|one| one.right_max);
        rights.min().unwrap_or(Right::Admin)
    }

    /// Whether any of them concerns a visitor, run out or not.
    pub fn covers(&self, visitor: &Visitor<'_>) -> bool {
        self.near(visitor).any(|one| one.covers(visitor))
    }

    /// Those that are in one of the two sets and not, or otherwise, in the other.
    pub fn difference(&self, other: &Self) -> Self {
        let is_in = |set: &Self, one: &Arc<Restriction>| {
            let found = set.all.binary_search_by(|it| it.id.cmp(&one.id));
            found.is_ok_and(|at| set.all[at] == *one)
        };
        let mine = self.all.iter().filter(|one| !is_in(other, one));
        let theirs = other.all.iter().filter(|one| !is_in(self, one));
        // Of one that was changed both are kept, whom either concerns.
        let mut set = Self::new(mine.cloned());
        for one in Self::new(theirs.cloned()).all {
            set.by_pattern.push(one.clone());
            set.all.push(one);
        }
        set
    }

    /// When the first of them runs out.
    pub fn first_end_ms(&self) -> Option<u64> {
        self.all.iter().filter_map(|one| one.until_ms).min()
    }

    fn near<'a>(&'a self, visitor: &Visitor<'_>) -> impl Iterator<Item = &'a Arc<Restriction>> {
        let found = |map: &'a HashMap<String, Vec<Arc<Restriction>>>, key: Option<&str>| {
            let found = key.and_then(|key| map.get(key));
            found.into_iter().flatten()
        };
        found(&self.by_token_id, visitor.token_id)
            .chain(found(&self.by_subject, visitor.subject))
            .chain(found(&self.by_document, Some(visitor.document)))
            .chain(&self.by_pattern)
    }
}

fn of<'a>(
    map: &'a mut HashMap<String, Vec<Arc<Restriction>>>,
    key: &Option<String>,
) -> &'a mut Vec<Arc<Restriction>> {
    map.entry(key.clone().unwrap_or_default()).or_default()
}

/// The set that is in force on this node; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Restrictions(Arc<RwLock<Arc<RestrictionSet>>>);

impl Restrictions {
    /// What is in force now.
    pub fn current(&self) -> Arc<RestrictionSet> {
        // A set is put in its place whole, so a poisoned lock is as good.
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    /// Puts another set in force.
    pub fn replace(&self, set: Arc<RestrictionSet>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = set;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Selection;

    fn one(id: &str, parts: [Option<&str>; 3], right_max: Right) -> Arc<Restriction> {
        let [document, subject, token_id] = parts.map(|part| part.map(str::to_owned));
        Arc::new(Restriction {
            id: id.to_owned(),
            on: Selection {
                document,
                subject,
                token_id,
            },
            right_max,
            since_ms: 0,
            until_ms: None,
            issued_before_ms: None,
            reason: String::new(),
        })
    }

    fn visitor<'a>(document: &'a str, subject: Option<&'a str>) -> Visitor<'a> {
        Visitor {
            document,
            subject,
            token_id: Some("t"),
            issued_at_ms: None,
        }
    }

    #[test]
    fn the_least_of_all_that_concern_somebody_counts() {
        let set = RestrictionSet::new([
            one("1", [Some("team/*"), None, None], Right::Comment),
            one("2", [Some("team/plan"), None, None], Right::Read),
            one("3", [None, Some("eve"), None], Right::None),
            one("4", [Some("team/*"), Some("ben"), None], Right::Read),
            one("5", [Some("x"), None, Some("t")], Right::None),
            one("6", [None, None, Some("u")], Right::None),
        ]);
        let table = [
            ("other", None, Right::Admin),
            ("other", Some("ada"), Right::Admin),
            ("team/a", None, Right::Comment),
            ("team/plan", None, Right::Read),
            ("team/plan", Some("eve"), Right::None),
            ("other", Some("eve"), Right::None),
            ("team/a", Some("ben"), Right::Read),
            ("other", Some("ben"), Right::Admin),
            ("x", None, Right::None),
        ];
        for (document, subject, wanted) in table {
            let found = set.right_max(&visitor(document, subject), 0);
            assert_eq!(found, wanted, "{document} {subject:?}");
        }
    }

    #[test]
    fn what_ran_out_takes_nothing_away() {
        let mut ending = (*one("1", [Some("*"), None, None], Right::Read)).clone();
        ending.until_ms = Some(10);
        let set = RestrictionSet::new([Arc::new(ending)]);
        assert_eq!(set.first_end_ms(), Some(10));
        assert_eq!(set.right_max(&visitor("a", None), 9), Right::Read);
        assert_eq!(set.right_max(&visitor("a", None), 10), Right::Admin);
    }

    #[test]
    fn a_change_concerns_those_before_and_after_it() {
        let kept = one("1", [Some("kept"), None, None], Right::Read);
        let old = [
            kept.clone(),
            one("2", [Some("gone"), None, None], Right::Read),
            one("3", [Some("before"), None, None], Right::Read),
            one("4", [Some("level"), None, None], Right::Read),
        ];
        let new = [
            kept,
            one("3", [Some("after"), None, None], Right::Read),
            one("4", [Some("level"), None, None], Right::None),
            one("5", [None, Some("ada"), None], Right::None),
        ];
        let (old, new) = (RestrictionSet::new(old), RestrictionSet::new(new));
        for difference in [old.difference(&new), new.difference(&old)] {
            for (document, wanted) in [
                ("kept", false),
                ("gone", true),
                ("before", true),
                ("after", true),
                ("level", true),
            ] {
                let found = difference.covers(&visitor(document, None));
                assert_eq!(found, wanted, "{document}");
            }
            assert!(difference.covers(&visitor("kept", Some("ada"))));
        }
        assert!(old.difference(&old).is_empty());
    }
}
