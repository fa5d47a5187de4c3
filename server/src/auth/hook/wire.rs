//! The hook's request and answer as bytes.

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::Full;
use ring::hmac;
use serde::Deserialize;
use serde_json::json;

use crate::auth::claims::IDENTITY_BYTES_MAX;
use crate::auth::http::Answer;
use crate::auth::{Denial, Grant, Question, Right, Trouble, USER_AGENT};

/// The header with the time of the request, in seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "driftless-timestamp";

/// The header with the signature: `v1=` and the HMAC-SHA256, in hexadecimal digits, of the
/// timestamp, a dot and the body.
pub const SIGNATURE_HEADER: &str = "driftless-signature";

/// The largest answer; a full one has a few hundred bytes.
pub const ANSWER_BYTES_MAX: usize = 16 << 10;

/// An answer of 200. More members may come; those known here have exactly these forms.
#[derive(Deserialize)]
struct Allowed {
    right: String,
    subject: Option<String>,
    token_id: Option<String>,
    #[serde(default)]
    relay: bool,
    /// Seconds since 1970.
    issued_at: Option<u64>,
    expires_in_seconds: Option<u64>,
    /// Seconds since 1970.
    expires_at: Option<u64>,
}

/// The signed request for one question.
pub(super) fn request(
    url: &Uri,
    secret: &hmac::Key,
    question: &Question,
    wall_ms: u64,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let token = question.token.as_ref().map(|token| token.reveal());
    let body = json!({
        "document": question.document.as_str(),
        "token": token.filter(|token| !token.is_empty()),
        "address": question.address.to_string(),
        "door": question.door,
    });
    let body = body.to_string();
    let timestamp = (wall_ms / 1_000).to_string();
    let signature = sign(secret, &timestamp, body.as_bytes());
    Request::post(url.clone())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, USER_AGENT)
        .header(TIMESTAMP_HEADER, timestamp)
        .header(SIGNATURE_HEADER, signature)
        .body(Full::new(Bytes::from(body)))
}

fn sign(secret: &hmac::Key, timestamp: &str, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(secret);
    for part in [timestamp.as_bytes(), b".", body] {
        context.update(part);
    }
    let digits = context.sign();
    let digits = digits.as_ref().iter().map(|byte| format!("{byte:02x}"));
    format!("v1={}", digits.collect::<String>())
}

/// Whether an answer of this status says that the hook does not work, or wants to be left alone,
/// whoever is asked about. What it says of one question, understood or not, is no failure: a stranger
/// with a token that nobody understands could close the door for everybody.
pub(super) fn is_failure(status: StatusCode) -> bool {
    let asks_for_less = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    status.is_server_error() || asks_for_less.contains(&status)
}

/// What the answer says; `Unavailable` when it says nothing that is understood.
pub(super) fn decision(answer: &Answer, wall_ms: u64) -> Result<Grant, Denial> {
    match answer.status.as_u16() {
        200 => {}
        401 | 403 => return Err(Denial::Refused),
        _ => return Err(Denial::Unavailable(Trouble::Hook)),
    }
    let unreadable = Denial::Unavailable(Trouble::Hook);
    let allowed: Allowed = serde_json::from_slice(&answer.body).map_err(|_| unreadable)?;
    let right: Right = allowed.right.parse().map_err(|_| unreadable)?;
    let identities = [&allowed.subject, &allowed.token_id];
    let fits = |text: &String| (1..=IDENTITY_BYTES_MAX).contains(&text.len());
    if !identities.into_iter().flatten().all(fits) {
        return Err(unreadable);
    }
    let expires_at_ms = match (allowed.expires_in_seconds, allowed.expires_at) {
        (Some(_), Some(_)) => return Err(unreadable),
        (Some(seconds), None) => Some(wall_ms.saturating_add(seconds.saturating_mul(1_000))),
        (None, at) => at.map(|seconds| seconds.saturating_mul(1_000)),
    };
    if right == Right::None {
        return Err(Denial::NoRight);
    }
    if expires_at_ms.is_some_and(|at| at <= wall_ms) {
        return Err(Denial::Expired);
    }
    Ok(Grant {
        subject: allowed.subject.map(Into::into),
        token_id: allowed.token_id.map(Into::into),
        // The time of the answer would make an old token new whenever it is asked about.
        issued_at_ms: allowed
            .issued_at
            .map(|seconds| seconds.saturating_mul(1_000)),
        right,
        may_relay: allowed.relay,
        expires_at_ms,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;

    fn decided(status: u16, body: &str) -> Result<Grant, Denial> {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        decision(&answer, NOW_MS)
    }

    #[test]
    fn a_complete_answer_becomes_a_grant() {
        let full = r#"{"right":"write","subject":"ada","token_id":"t1","relay":true,
            "issued_at":1699999000,"expires_in_seconds":60,"more":[1]}"#;
        let wanted = Grant {
            subject: Some("ada".into()),
            token_id: Some("t1".into()),
            issued_at_ms: Some(NOW_MS - 1_000_000),
            right: Right::Write,
            may_relay: true,
            expires_at_ms: Some(NOW_MS + 60_000),
        };
        assert_eq!(decided(200, full), Ok(wanted));
        let least = decided(200, r#"{"right":"read"}"#).unwrap();
        assert_eq!((least.right, least.may_relay), (Right::Read, false));
        assert_eq!((least.subject, least.expires_at_ms), (None, None));
        assert_eq!(
            least.issued_at_ms, None,
            "nobody knows how old the token is"
        );
        let until = decided(200, r#"{"right":"read","expires_at":1700000001}"#).unwrap();
        assert_eq!(until.expires_at_ms, Some(NOW_MS + 1_000));
    }

    #[test]
    fn what_is_no_clear_yes_is_no() {
        let long = format!(r#"{{"right":"read","subject":"{}"}}"#, "a".repeat(257));
        let failed = Denial::Unavailable(Trouble::Hook);
        let table = [
            (401, "", Denial::Refused),
            (403, r#"{"right":"admin"}"#, Denial::Refused),
            (200, r#"{"right":"none"}"#, Denial::NoRight),
            (
                200,
                r#"{"right":"read","expires_in_seconds":0}"#,
                Denial::Expired,
            ),
            (
                200,
                r#"{"right":"read","expires_at":1700000000}"#,
                Denial::Expired,
            ),
            (204, r#"{"right":"admin"}"#, failed),
            (201, r#"{"right":"admin"}"#, failed),
            (302, "", failed),
            (404, "", failed),
            (429, "", failed),
            (500, r#"{"right":"admin"}"#, failed),
            (200, "", failed),
            (200, "true", failed),
            (200, "{}", failed),
            (200, r#"{"right":"owner"}"#, failed),
            (200, r#"{"right":true}"#, failed),
            (200, r#"{"right":"read","right":"admin"}"#, failed),
            (200, r#"{"right":"read","relay":"yes"}"#, failed),
            (200, r#"{"right":"read","subject":7}"#, failed),
            (200, r#"{"right":"read","subject":""}"#, failed),
            (200, &long, failed),
            (200, r#"{"right":"read","issued_at":"now"}"#, failed),
            (200, r#"{"right":"read","expires_at":"soon"}"#, failed),
            (200, r#"{"right":"read","expires_at":-1}"#, failed),
            (200, r#"{"right":"read","expires_at":1.5}"#, failed),
            (
                200,
                r#"{"right":"read","expires_at":1800000000,"expires_in_seconds":1}"#,
                failed,
            ),
            (200, r#"{"right":"read"} trailing"#, failed),
        ];
        for (status, body, wanted) in table {
            assert_eq!(decided(status, body), Err(wanted), "{status} {body}");
        }
        let endless = decided(200, r#"{"right":"read","expires_at":18446744073709551615}"#);
        assert_eq!(endless.unwrap().expires_at_ms, Some(u64::MAX));
    }

    #[test]
    fn only_what_concerns_every_question_is_a_failure() {
        let table = [
            (200, false),
            (204, false),
            (302, false),
            (400, false),
            (401, false),
            (404, false),
            (408, true),
            (422, false),
            (429, true),
            (500, true),
            (503, true),
        ];
        for (status, wanted) in table {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(is_failure(status), wanted, "{status}");
        }
    }

    #[test]
    fn the_signature_is_that_of_the_documentation() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac 'a secret of the application!!!!!'
        let secret = hmac::Key::new(hmac::HMAC_SHA256, b"a secret of the application!!!!!");
        assert_eq!(
            sign(&secret, "1700000000", b"{}"),
            "v1=4ca68333bc98a94ead53033c5aa457f15042c6a9d190f4b1bbd906730d9001d1"
        );
    }
}
