//! Tokens of known worth: good ones with rights on single documents, and ones that are worth nothing.

use std::collections::HashMap;

use driftless::auth::{NewToken, Right, Signer};

use crate::support::random::Random;

/// What the server verifies with.
pub(crate) const SECRET: &str = "a secret that the server of this fuzzer has";

/// What it does not know.
const OTHER_SECRET: &str = "a secret that no server ever has heard about";

/// Times are fixed, so that a seed gives the same bytes: 2023, and the year 2100.
const LONG_AGO_MS: u64 = 1_700_000_000_000;
const FAR_AWAY_MS: u64 = 4_102_444_800_000;

/// A token, and what it is worth.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown {
    pub(crate) text: String,
    rights: HashMap<String, Right>,
}

impl Shown {
    /// What it allows for a document.
    pub(crate) fn right(&self, document: &str) -> Right {
        self.rights.get(document).copied().unwrap_or(Right::None)
    }
}

fn sign(secret: &str, subject: &str, documents: Vec<(String, Right)>, times: (u64, u64)) -> String {
    let token = NewToken {
        subject: Some(subject.to_owned()),
        documents,
        issued_at_ms: times.0,
        expires_at_ms: times.1,
        ..NewToken::default()
    };
    let signer = Signer::from_secret(secret.as_bytes()).unwrap();
    signer.sign(&token).unwrap()
}

/// A token with one right for all these documents.
pub(crate) fn for_all(names: &[String], right: Right) -> Shown {
    let documents: Vec<_> = names.iter().map(|name| (name.clone(), right)).collect();
    Shown {
        text: sign(
            SECRET,
            "honest",
            documents.clone(),
            (LONG_AGO_MS, FAR_AWAY_MS),
        ),
        rights: documents.into_iter().collect(),
    }
}

/// A random one: mostly good, with a right of its own for each document.
pub(crate) fn draw(random: &mut Random, names: &[String], subject: &str) -> Shown {
    let rights = [
        Right::None,
        Right::Read,
        Right::Comment,
        Right::Write,
        Right::Write,
        Right::Write,
        Right::Admin,
    ];
    let documents: Vec<_> = names
        .iter()
        .map(|name| (name.clone(), *random.pick(&rights)))
        .collect();
    let good = (LONG_AGO_MS, FAR_AWAY_MS);
    let text = match random.below(32) {
        0 => sign(
            SECRET,
            subject,
            documents,
            (LONG_AGO_MS, LONG_AGO_MS + 60_000),
        ),
        1 => sign(OTHER_SECRET, subject, documents, good),
        2 => String::new(),
        3 => "a.b.c".to_owned(),
        4 => "x".repeat(17 << 10),
        5 => unsigned(&sign(SECRET, subject, documents, good)),
        6 => {
            let token = sign(SECRET, subject, documents, good);
            token[..token.len() - 1 - random.index(20)].to_owned()
        }
        _ => {
            let subject = if random.one_in(8) { "another" } else { subject };
            return Shown {
                text: sign(SECRET, subject, documents.clone(), good),
                rights: documents.into_iter().collect(),
            };
        }
    };
    Shown {
        text,
        rights: HashMap::new(),
    }
}

/// The same claims under `{"alg":"none"}`.
fn unsigned(token: &str) -> String {
    let claims = token.split('.').nth(1).unwrap_or_default();
    format!("eyJhbGciOiJub25lIn0.{claims}.")
}
