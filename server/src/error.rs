//! The one table from what went wrong to what a peer is told: WebSocket close code, HTTP status
//! and a text for people.
//!
//! Codes 4400 to 4499 mean "the same again cannot succeed": y-websocket clients from 3.1 on stop
//! there. All other codes make them reconnect with back-off, so 45xx is for what time heals.

use std::borrow::Cow;

use driftless_proto::engine::CloseReason;
use driftless_proto::name::NameError;

use crate::auth::Denial;
use crate::session::AttachError;
use crate::store::StoreError;

/// RFC 6455 section 7.4.1: the peer broke the framing rules themselves.
pub const PROTOCOL_ERROR_CODE: u16 = 1002;

/// As 429 of HTTP, where the same again may succeed a moment later.
const TOO_MANY_CODE: u16 = 4529;

/// What a peer is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The WebSocket close code.
    pub close_code: u16,
    /// The HTTP status, on doors that answer by HTTP.
    pub http_status: u16,
    /// What happened and what to do, for people.
    pub text: Cow<'static, str>,
}

impl Refusal {
    /// True when the peer should not try the same again.
    pub fn is_final(&self) -> bool {
        (4400..4500).contains(&self.close_code)
    }

    /// Too many documents were joined from one address. The code is one that clients come back after:
    /// others behind that address may have used its room.
    pub fn too_many_joins() -> Self {
        Self::new(
            TOO_MANY_CODE,
            429,
            "too many joins from your address (setting joins_per_second_max); try again in a moment",
        )
    }

    const fn new(close_code: u16, http_status: u16, text: &'static str) -> Self {
        Self {
            close_code,
            http_status,
            text: Cow::Borrowed(text),
        }
    }
}

impl From<CloseReason> for Refusal {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Malformed => Self::new(4400, 400, "the message cannot be read"),
            CloseReason::Refused => Self::new(
                4422,
                422,
                "the update was refused: it would damage the document",
            ),
            CloseReason::TooLarge => Self::new(4413, 413, "larger than this server allows"),
            CloseReason::Unsupported => {
                Self::new(4415, 415, "only binary frames are understood here")
            }
            CloseReason::Deleted => Self::new(
                4404,
                410,
                "the document was deleted; discard the local copy to start a new one",
            ),
            CloseReason::Unauthenticated => Self::new(
                4401,
                401,
                "access has ended: the token expired or was withdrawn; get a new one",
            ),
            CloseReason::Forbidden => Self::new(4403, 403, "this is not allowed"),
            CloseReason::TooMuch => Self::new(
                4429,
                429,
                "more, or more often, than this server allows; send less",
            ),
            CloseReason::Unavailable => Self::new(
                4503,
                503,
                "the document cannot be loaded right now; nothing is lost, try again",
            ),
            CloseReason::StoreFull => Self::new(
                4503,
                503,
                "the store is away and no more edits can be held; keep them and try again",
            ),
            CloseReason::ShuttingDown => {
                Self::new(4512, 503, "the server is stopping; connect again")
            }
            CloseReason::Ended => {
                Self::new(4510, 503, "an operator ended the session; connect again")
            }
            CloseReason::TimedOut => Self::new(4508, 408, "nothing was heard for too long"),
            CloseReason::Internal => Self::new(
                4500,
                500,
                "the server failed here; what was acknowledged is safe, try again",
            ),
        }
    }
}

impl From<AttachError> for Refusal {
    fn from(error: AttachError) -> Self {
        let base = match error {
            AttachError::ShuttingDown => Self::from(CloseReason::ShuttingDown),
            AttachError::Unavailable => Self::from(CloseReason::Unavailable),
            AttachError::DocumentFull | AttachError::IdentityFull => {
                Self::new(TOO_MANY_CODE, 429, "")
            }
        };
        Self {
            text: error.to_string().into(),
            ..base
        }
    }
}

/// The reason that a session ends for when this is the answer.
pub(crate) fn reason_of(denial: Denial) -> CloseReason {
    match denial {
        Denial::Unavailable(_) => CloseReason::Unavailable,
        Denial::NoRight | Denial::Refused | Denial::Withdrawn => CloseReason::Forbidden,
        _ => CloseReason::Unauthenticated,
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self {
            text: denial.to_string().into(),
            ..Self::from(reason_of(denial))
        }
    }
}

impl From<NameError> for Refusal {
    fn from(error: NameError) -> Self {
        Self {
            text: error.to_string().into(),
            ..Self::from(CloseReason::Malformed)
        }
    }
}

impl From<&StoreError> for Refusal {
    fn from(error: &StoreError) -> Self {
        let base = match error {
            StoreError::Unavailable(_) | StoreError::FlushFailed(_) => {
                Self::from(CloseReason::Unavailable)
            }
            StoreError::DiskFull(_) => Self {
                http_status: 507,
                ..Self::from(CloseReason::StoreFull)
            },
            StoreError::Damaged(_) | StoreError::Refused(_) => Self::from(CloseReason::Internal),
            StoreError::NotFound => Self {
                http_status: 404,
                ..Self::from(CloseReason::Deleted)
            },
        };
        Self {
            text: error.to_string().into(),
            ..base
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_stop_exactly_where_the_same_again_cannot_help() {
        let table = [
            (CloseReason::Malformed, 4400, true),
            (CloseReason::Refused, 4422, true),
            (CloseReason::TooLarge, 4413, true),
            (CloseReason::Unsupported, 4415, true),
            (CloseReason::Deleted, 4404, true),
            (CloseReason::Unauthenticated, 4401, true),
            (CloseReason::Forbidden, 4403, true),
            (CloseReason::TooMuch, 4429, true),
            (CloseReason::Unavailable, 4503, false),
            (CloseReason::StoreFull, 4503, false),
            (CloseReason::ShuttingDown, 4512, false),
            (CloseReason::Ended, 4510, false),
            (CloseReason::TimedOut, 4508, false),
            (CloseReason::Internal, 4500, false),
        ];
        for (reason, code, is_final) in table {
            let refusal = Refusal::from(reason);
            assert_eq!(
                (refusal.close_code, refusal.is_final()),
                (code, is_final),
                "{reason:?}"
            );
            assert!(
                refusal.text.len() <= 123,
                "{reason:?} does not fit a close frame"
            );
        }
        for error in [
            AttachError::ShuttingDown,
            AttachError::Unavailable,
            AttachError::DocumentFull,
            AttachError::IdentityFull,
        ] {
            let refusal = Refusal::from(error);
            assert!(!refusal.is_final(), "{error:?}");
            assert!(refusal.text.len() <= 123, "{error:?}");
        }
        let joins = Refusal::too_many_joins();
        assert!(!joins.is_final() && joins.text.len() <= 123);
        assert!(Refusal::from(NameError::NotUtf8).is_final());
    }

    #[test]
    fn a_store_error_is_final_only_when_it_cannot_heal() {
        let table = [
            (StoreError::Unavailable("busy".into()), 503),
            (StoreError::DiskFull("no space".into()), 507),
            (StoreError::FlushFailed("io".into()), 503),
            (StoreError::Damaged("page 3".into()), 500),
            (StoreError::NotFound, 404),
        ];
        for (error, status) in table {
            let refusal = Refusal::from(&error);
            assert_eq!(refusal.http_status, status, "{error}");
            if error.is_retryable() {
                assert!(!refusal.is_final(), "{error}");
            }
        }
    }
}
