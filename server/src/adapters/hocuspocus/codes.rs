//! How this dialect says why something ends: close codes, and reasons in its own words.
//!
//! Source: `CloseEvents.ts` of @hocuspocus/common 4.8.0. Providers 3 and 4 reconnect after every
//! code, provider 2 stops at 1009 and 4401.

use driftless_proto::engine::CloseReason;

use crate::auth::Denial;
use crate::error::Refusal;

const MESSAGE_TOO_BIG: u16 = 1009;
const RESET_CONNECTION: u16 = 4205;
const UNAUTHORIZED: u16 = 4401;
const FORBIDDEN: u16 = 4403;
const CONNECTION_TIMEOUT: u16 = 4408;

/// Words for what time heals: an app may show its token again after a pause.
pub(super) const TOO_MANY_JOINS: &str = "too-many-joins";
pub(super) const DOCUMENT_FULL: &str = "document-full";
pub(super) const TOO_MANY_SESSIONS: &str = "too-many-sessions";

/// Whether the peer may use the document could not be found out; it may try again.
pub(super) const UNAVAILABLE: &str = "authorization-unavailable";

/// The close code for a refusal, where the dialect has one of its own.
pub(super) fn close_code(refusal: &Refusal) -> u16 {
    let code = refusal.close_code;
    let same = |reason: CloseReason| Refusal::from(reason).close_code == code;
    match () {
        () if same(CloseReason::TooLarge) => MESSAGE_TOO_BIG,
        () if same(CloseReason::Unauthenticated) => UNAUTHORIZED,
        () if same(CloseReason::Forbidden) => FORBIDDEN,
        () if same(CloseReason::TimedOut) => CONNECTION_TIMEOUT,
        () if refusal.is_final() => RESET_CONNECTION,
        () => code,
    }
}

/// The reason of a denied document. `permission-denied` is what Hocuspocus says unless a hook says
/// otherwise; another word only where the client can do something about it.
pub(super) fn denied(denial: Denial) -> &'static str {
    match denial {
        Denial::Expired => "token-expired",
        Denial::NotYetValid => "token-not-yet-valid",
        Denial::TokenTooLarge => "token-too-large",
        Denial::Unavailable(_) => UNAVAILABLE,
        _ => "permission-denied",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_the_codes_that_providers_know() {
        let table = [
            (CloseReason::TooLarge, 1009),
            (CloseReason::Malformed, 4205),
            (CloseReason::Refused, 4205),
            (CloseReason::Unsupported, 4205),
            (CloseReason::TooMuch, 4205),
            (CloseReason::Unauthenticated, 4401),
            (CloseReason::Forbidden, 4403),
            (CloseReason::TimedOut, 4408),
            (CloseReason::ShuttingDown, 4512),
            (CloseReason::Unavailable, 4503),
            (CloseReason::Internal, 4500),
        ];
        for (reason, wanted) in table {
            assert_eq!(close_code(&reason.into()), wanted, "{reason:?}");
        }
    }

    #[test]
    fn denials_say_no_more_than_helps() {
        assert_eq!(denied(Denial::BadSignature), denied(Denial::NoRight));
        assert_eq!(denied(Denial::Expired), "token-expired");
    }
}
