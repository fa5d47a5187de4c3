//! Who may do what.

mod denial;
mod right;
mod token;

use std::net::IpAddr;
use std::sync::Arc;

use driftless_proto::name::DocumentName;

pub use denial::Denial;
pub use right::Right;
pub use token::{TOKEN_BYTES_MAX, Token};

#[derive(Debug, Clone)]
pub struct Question {
    pub document: DocumentName,
    pub token: Option<Token>,
    pub address: IpAddr,
    pub door: &'static str,
}

#[derive(Debug, Clone)]
pub struct Grant {
    pub subject: Option<Arc<str>>,
    pub token_id: Option<Arc<str>>,
    pub issued_at_ms: Option<u64>,
    pub right: Right,
    pub may_relay: bool,
    pub expires_at_ms: Option<u64>,
}

#[derive(Debug, Clone)]
pub struct Authority;

impl Authority {
    pub fn open() -> Self {
        Self
    }
    pub fn is_open(&self) -> bool {
        true
    }
    pub async fn decide(&self, _: &Question) -> Result<Grant, Denial> {
        Ok(Grant {
            subject: None,
            token_id: None,
            issued_at_ms: None,
            right: Right::Write,
            may_relay: false,
            expires_at_ms: None,
        })
    }
    pub async fn decide_anew(&self, question: &Question) -> Result<Grant, Denial> {
        self.decide(question).await
    }
}
