//! Answers of the hook, kept for a while. Pure, told the time.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use ring::digest;

use crate::auth::{Denial, Grant, Question};

/// The most answers that are kept; the oldest leaves first. About 4 MiB.
pub const ANSWERS_MAX: usize = 10_000;

/// What the hook said.
pub(super) type Decision = Result<Grant, Denial>;

/// A question without its secret: a hash of token and document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct QuestionKey([u8; 32]);

impl QuestionKey {
    /// With the length of the token in front, no two questions look alike. Without a token there is
    /// only the address to tell peers apart.
    pub(super) fn of(question: &Question) -> Self {
        let token = question.token.as_ref().map_or("", |token| token.reveal());
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&(token.len() as u64).to_be_bytes());
        context.update(token.as_bytes());
        context.update(question.document.as_str().as_bytes());
        if token.is_empty() {
            let address = match question.address {
                IpAddr::V4(address) => address.to_ipv6_mapped(),
                IpAddr::V6(address) => address,
            };
            context.update(&[0]);
            context.update(&address.octets());
        }
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        Self(key)
    }
}

#[derive(Debug)]
struct Kept {
    decision: Decision,
    /// By the clock that never goes back.
    until_ms: u64,
}

/// The cache.
#[derive(Debug)]
pub(super) struct Cache {
    keep_ms: u64,
    answers_max: usize,
    kept: HashMap<QuestionKey, Kept>,
    /// In the order of their arrival, to find the oldest.
    order: VecDeque<QuestionKey>,
}

impl Cache {
    /// Keeps up to so many answers for so long; 0 keeps none.
    pub(super) fn new(keep_ms: u64, answers_max: usize) -> Self {
        Self {
            keep_ms,
            answers_max,
            kept: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// An answer that still counts.
    pub(super) fn get(&self, key: &QuestionKey, now_ms: u64, wall_ms: u64) -> Option<Decision> {
        let kept = self.kept.get(key).filter(|kept| now_ms < kept.until_ms)?;
        let expires_at_ms = match &kept.decision {
            Ok(grant) => grant.expires_at_ms,
            Err(_) => None,
        };
        let is_over = expires_at_ms.is_some_and(|at| at <= wall_ms);
        (!is_over).then(|| kept.decision.clone())
    }

    /// Keeps an answer. What only says that the hook did not work is not kept.
    pub(super) fn put(&mut self, key: QuestionKey, decision: &Decision, now_ms: u64) {
        let is_trouble = decision.as_ref().is_err_and(|denial| denial.is_retryable());
        if self.keep_ms == 0 || is_trouble {
            return;
        }
        let kept = Kept {
            decision: decision.clone(),
            until_ms: now_ms + self.keep_ms,
        };
        match self.kept.get_mut(&key) {
            Some(known) => *known = kept,
            None => {
                self.make_room();
                self.kept.insert(key, kept);
                self.order.push_back(key);
            }
        }
    }

    /// Keeps it no longer. It stays in its turn, so that each key is there once.
    pub(super) fn forget(&mut self, key: &QuestionKey) {
        if let Some(kept) = self.kept.get_mut(key) {
            kept.until_ms = 0;
        }
    }

    fn make_room(&mut self) {
        while self.kept.len() >= self.answers_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.kept.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::auth::{Right, Token, Trouble};
    use driftless_proto::name::DocumentName;

    fn key(document: &str, token: Option<&str>) -> QuestionKey {
        QuestionKey::of(&Question {
            document: DocumentName::new(document).unwrap(),
            token: token.map(|token| Token::new(token).unwrap()),
            address: IpAddr::from([127, 0, 0, 1]),
            door: "test",
        })
    }

    fn yes(expires_at_ms: Option<u64>) -> Decision {
        Ok(Grant {
            expires_at_ms,
            ..Grant::anonymous(Right::Write)
        })
    }

    #[test]
    fn questions_differ_by_token_and_document() {
        let keys = [
            key("doc", None),
            key("doc2", None),
            key("doc", Some("t")),
            key("oc", Some("td")),
            key("tdoc", Some("")),
            key("doc", Some("u")),
        ];
        for (index, one) in keys.iter().enumerate() {
            assert!(
                keys[index + 1..].iter().all(|other| other != one),
                "{index}"
            );
        }
        assert_eq!(key("doc", Some("")), key("doc", None));
    }

    #[test]
    fn answers_are_kept_for_a_while_and_never_beyond_their_expiry() {
        let mut cache = Cache::new(100, 10);
        let (one, other) = (key("a", Some("t")), key("b", Some("t")));
        cache.put(one, &yes(Some(5_050)), 0);
        cache.put(other, &Err(Denial::Refused), 0);
        assert_eq!(cache.get(&one, 49, 5_049), Some(yes(Some(5_050))));
        assert_eq!(cache.get(&one, 50, 5_050), None, "expired");
        assert_eq!(cache.get(&other, 99, 9_999), Some(Err(Denial::Refused)));
        assert_eq!(cache.get(&other, 100, 0), None, "old");
        cache.put(other, &Err(Denial::Unavailable(Trouble::Hook)), 100);
        assert_eq!(cache.get(&other, 100, 0), None, "trouble is not kept");
        let mut none = Cache::new(0, 10);
        none.put(one, &yes(None), 0);
        assert_eq!(none.get(&one, 0, 0), None);
    }

    #[test]
    fn what_is_forgotten_is_gone_until_it_is_answered_anew() {
        let mut cache = Cache::new(100, 10);
        let one = key("a", None);
        cache.put(one, &yes(None), 0);
        cache.forget(&one);
        assert_eq!(cache.get(&one, 0, 0), None);
        cache.put(one, &Err(Denial::Refused), 1);
        assert_eq!(cache.get(&one, 1, 0), Some(Err(Denial::Refused)));
        cache.forget(&key("b", None));
        assert_eq!((cache.kept.len(), cache.order.len()), (1, 1));
    }

    #[test]
    fn the_oldest_answer_leaves_first() {
        let mut cache = Cache::new(100, 3);
        let keys: Vec<_> = (0..5).map(|index| key(&index.to_string(), None)).collect();
        for key in &keys {
            cache.put(*key, &yes(None), 0);
        }
        let there: Vec<_> = keys
            .iter()
            .map(|key| cache.get(key, 0, 0).is_some())
            .collect();
        assert_eq!(there, [false, false, true, true, true]);
        assert_eq!((cache.kept.len(), cache.order.len()), (3, 3));
    }
}
