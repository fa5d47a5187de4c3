//! Identity and rights: who a peer is, and what it may do with a document.
//!
//! ```text
//!  Question ─▶ Authority ─┬▶ open:  everybody may do everything but Admin
//!                         ├▶ keys:  token ─▶ signature ─▶ claims ─▶ times, names ─▶ patterns ─▶ Grant
//!                         │           ▲ KeyRing: setting, file, URL (kept fresh by the worker)
//!                         └▶ hook:  cache ─▶ circuit ─▶ worker ─▶ the application ─▶ Grant
//!  Signer ─▶ tokens, for `driftless token` and for doors that hand them out
//! ```
//!
//! Doors ask [`Authority::decide`] with what the peer showed, and tell the peer a [`Denial`] in the
//! words of their dialect. Nothing here knows a dialect, a session or whether a document exists.

pub mod claims;
mod crypto;
mod denial;
mod examine;
mod freshness;
pub mod generate;
pub mod hook;
mod http;
mod keyring;
pub mod keys;
pub mod pattern;
mod pem;
mod right;
mod settings;
mod signer;
mod source;
mod time;
mod token;
mod verify;
mod worker;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use driftless_proto::name::DocumentName;
use futures_util::FutureExt;

use hook::Hook;
use keyring::KeyRing;

pub use denial::{Denial, Trouble};
pub use examine::examine;
pub use right::{Right, UnknownRight};
pub use settings::AuthError;
pub use signer::{NewToken, Signer, SigningError};
pub use time::TimeSource;
pub use token::{TOKEN_BYTES_MAX, Token};
pub use verify::{KEYS_TRIED_MAX, NOT_BEFORE_LEEWAY_MS};

/// How this server introduces itself to key URLs and hooks.
const USER_AGENT: &str = concat!("driftless/", env!("CARGO_PKG_VERSION"));

/// What is asked: may this peer use this document?
#[derive(Debug, Clone)]
pub struct Question {
    /// The document it wants.
    pub document: DocumentName,
    /// What it showed; an empty one counts as none.
    pub token: Option<Token>,
    /// Where it comes from, as far as the door knows.
    pub address: IpAddr,
    /// The door it came through, one of a few words.
    pub door: &'static str,
}

/// The answer when it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The verified identity (`sub`).
    pub subject: Option<Arc<str>>,
    /// The id of the token (`jti`), by which it can be revoked.
    pub token_id: Option<Arc<str>>,
    /// When the token was issued (`iat`, or `issued_at` of the hook's answer), if anybody says so; since 1970.
    pub issued_at_ms: Option<u64>,
    /// What it may do; never [`Right::None`].
    pub right: Right,
    /// Whether it may resend edits that others made first.
    pub may_relay: bool,
    /// When the grant ends, by the wall clock since 1970.
    pub expires_at_ms: Option<u64>,
}

impl Grant {
    /// A grant to nobody in particular, without an end.
    pub fn anonymous(right: Right) -> Self {
        Self {
            subject: None,
            token_id: None,
            issued_at_ms: None,
            right,
            may_relay: false,
            expires_at_ms: None,
        }
    }
}

/// Decides about peers. Cheap to clone; used from any thread and any runtime.
#[derive(Debug, Clone)]
pub struct Authority {
    judge: Arc<Judge>,
    time: Arc<dyn TimeSource>,
}

/// Who decides.
#[derive(Debug)]
enum Judge {
    Open,
    Keys(KeyRing),
    Hook(Hook),
}

impl Authority {
    /// Asks for nothing: everybody may do everything but [`Right::Admin`].
    pub fn open() -> Self {
        Self::new(Judge::Open, Arc::new(crate::clock::Clock::start()))
    }

    fn new(judge: Judge, time: Arc<dyn TimeSource>) -> Self {
        Self {
            judge: Arc::new(judge),
            time,
        }
    }

    /// True when nobody has to show anything.
    pub fn is_open(&self) -> bool {
        matches!(*self.judge, Judge::Open)
    }

    /// May this peer use this document, and how? Dropping the future loses nothing others wait for.
    /// It is ready at its first poll unless something has to be fetched.
    pub async fn decide(&self, question: &Question) -> Result<Grant, Denial> {
        let decision = match &*self.judge {
            Judge::Open => Ok(Grant::anonymous(Right::Write)),
            Judge::Keys(keys) => keys.decide(question, &self.time).await,
            Judge::Hook(hook) => hook.decide(question).await,
        };
        counted(question, decision)
    }

    /// The same where the application would not have to be asked; else nothing.
    pub fn decide_unasked(&self, question: &Question) -> Option<Result<Grant, Denial>> {
        match &*self.judge {
            Judge::Hook(hook) => hook.known(question).map(|known| counted(question, known)),
            Judge::Open | Judge::Keys(_) => self.decide(question).now_or_never(),
        }
    }

    /// What was answered to this question, or is about to be, may not be true any more: whoever asks
    /// from now on, or waits, hears what was found out later.
    pub fn doubt(&self, question: &Question) {
        if let Judge::Hook(hook) = &*self.judge {
            hook.doubt(question);
        }
    }
}

fn counted(question: &Question, decision: Result<Grant, Denial>) -> Result<Grant, Denial> {
    let outcome = match &decision {
        Ok(_) => "allowed",
        Err(denial) => {
            let document = question.document.as_str();
            tracing::debug!(document, door = question.door, peer = %question.address, outcome = denial.label(), "denied");
            denial.label()
        }
    };
    crate::metrics::auth_decided(outcome, question.door);
    decision
}
