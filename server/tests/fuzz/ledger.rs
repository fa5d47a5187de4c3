//! Who may see and say what: marks in documents and of peers, and the rights that peers have shown.
//!
//! Every document holds a secret that nobody else knows, and every peer signs what it says. A secret
//! that reaches a peer without the right to read, or a signature that reaches anybody from a peer
//! without the right to say it, is a leak.

use std::collections::HashMap;

use driftless::auth::Right;

use crate::support::random::Random;

const SECRET: &[u8] = b"SECRET-";
const AUTHOR: &[u8] = b"AUTHOR-";
const DIGITS: usize = 16;

/// A peer, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Party(u64);

/// The marks of a run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    secrets: HashMap<Vec<u8>, String>,
    authors: HashMap<Vec<u8>, Party>,
    rights: HashMap<Party, HashMap<String, Right>>,
    next: u64,
}

fn mark(kind: &[u8], number: u64) -> String {
    format!("{}{number:016x}", String::from_utf8_lossy(kind))
}

/// The marks of one kind in these bytes.
fn marks<'a>(kind: &'a [u8], bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let starts = bytes
        .iter()
        .enumerate()
        .filter(move |(_, byte)| **byte == kind[0])
        .map(|(at, _)| at);
    starts.filter_map(move |at| {
        let rest = bytes[at..].strip_prefix(kind)?;
        rest.get(..DIGITS)
    })
}

impl Ledger {
    /// A new secret of a document.
    pub(crate) fn secret(&mut self, random: &mut Random, document: &str) -> String {
        let secret = mark(SECRET, random.bits());
        let digits = secret.as_bytes()[SECRET.len()..].to_vec();
        self.secrets.insert(digits, document.to_owned());
        secret
    }

    /// A new peer, with what it signs by.
    pub(crate) fn party(&mut self, random: &mut Random) -> (Party, String) {
        let party = Party(self.next);
        self.next += 1;
        let signature = mark(AUTHOR, random.bits());
        let digits = signature.as_bytes()[AUTHOR.len()..].to_vec();
        self.authors.insert(digits, party);
        (party, signature)
    }

    /// A peer has shown that it has this right.
    pub(crate) fn allow(&mut self, party: Party, document: &str, right: Right) {
        let rights = self.rights.entry(party).or_default();
        let known = rights.entry(document.to_owned()).or_insert(Right::None);
        *known = right.max(*known);
    }

    /// The highest right that a peer has shown.
    pub(crate) fn right(&self, party: Party, document: &str) -> Right {
        let rights = self.rights.get(&party);
        let right = rights.and_then(|rights| rights.get(document));
        right.copied().unwrap_or(Right::None)
    }

    /// A peer is gone; what it signed is still known as its own.
    pub(crate) fn forget(&mut self, party: Party) {
        self.rights.remove(&party);
    }

    /// The documents whose secrets are in these bytes.
    pub(crate) fn secrets_in(&self, bytes: &[u8]) -> Vec<&str> {
        let known = marks(SECRET, bytes).filter_map(|digits| self.secrets.get(digits));
        known.map(String::as_str).collect()
    }

    /// Looks at what reached a peer, or the store: each secret has to be the document's own, seen by
    /// one that may read, and each author needs the right to say such a thing.
    pub(crate) fn check(
        &self,
        viewer: Option<Party>,
        document: &str,
        bytes: &[u8],
        needed: Right,
    ) -> Result<(), String> {
        for owner in self.secrets_in(bytes) {
            if owner != document {
                return Err(format!(
                    "LEAK: the secret of {owner} is shown in {document}"
                ));
            }
            let right = viewer.map(|viewer| self.right(viewer, document));
            if right == Some(Right::None) {
                return Err(format!(
                    "LEAK: {document} is shown to {viewer:?}, who may not read"
                ));
            }
        }
        for author in marks(AUTHOR, bytes).filter_map(|digits| self.authors.get(digits)) {
            let right = self.right(*author, document);
            if right < needed {
                return Err(format!(
                    "FORGED: {author:?} has the right {right} in {document} and was heard with what needs {needed}"
                ));
            }
        }
        Ok(())
    }
}

#[test]
fn secrets_and_authors_are_found_out() {
    let mut random = Random::new(1);
    let mut ledger = Ledger::default();
    let secret = ledger.secret(&mut random, "a");
    let (reader, name) = ledger.party(&mut random);
    let bytes = format!("xSECRET{secret}{name}A");
    let check = |ledger: &Ledger, document: &str, needed| {
        ledger.check(Some(reader), document, bytes.as_bytes(), needed)
    };
    assert!(check(&ledger, "a", Right::None).is_err(), "may not read");
    ledger.allow(reader, "a", Right::Comment);
    ledger.allow(reader, "a", Right::Read);
    assert!(check(&ledger, "a", Right::Comment).is_ok());
    assert!(check(&ledger, "a", Right::Write).is_err(), "may not write");
    assert!(
        check(&ledger, "b", Right::None).is_err(),
        "another document"
    );
    ledger.forget(reader);
    assert!(check(&ledger, "a", Right::None).is_err());
}
