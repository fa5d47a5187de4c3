//! Where a request carries its token: the `Authorization` header, a subprotocol, or the query.

use actix_http::RequestHead;
use actix_http::header::{AUTHORIZATION, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use driftless_proto::name::percent_decoded;

use crate::auth::{Denial, TOKEN_BYTES_MAX, Token};

/// What stands before a token among the subprotocols on offer. Browsers cannot set headers on a
/// WebSocket; a subprotocol is in no access log, as a query is.
const TOKEN_PROTOCOL: &str = "driftless.token.";

/// The token of a request, if it carries one: in a header before in the query, which proxies log.
pub(super) fn token(head: &RequestHead) -> Result<Option<Token>, Denial> {
    if let Some(value) = head.headers().get(AUTHORIZATION) {
        let text = value.to_str().map_err(|_| Denial::Malformed)?;
        // Other schemes are for a proxy in front.
        if let Some((scheme, token)) = text.split_once(' ')
            && scheme.eq_ignore_ascii_case("bearer")
        {
            return Token::new(token.trim()).map(Some);
        }
    }
    if let Some(token) = protocols(head).find_map(|offer| offer.strip_prefix(TOKEN_PROTOCOL)) {
        return Token::new(token).map(Some);
    }
    let query = head.uri.query().unwrap_or_default();
    let value = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("token="))
        .filter(|value| !value.is_empty());
    value.map(from_query).transpose()
}

/// The subprotocol that the answer names: the first on offer that is no token. Browsers give up when
/// they offered some and none is chosen; who offered nothing but a token has it chosen.
pub(super) fn chosen_protocol(head: &RequestHead) -> Option<HeaderValue> {
    let plain = protocols(head).find(|offer| !offer.starts_with(TOKEN_PROTOCOL));
    HeaderValue::from_str(plain.or_else(|| protocols(head).next())?).ok()
}

fn protocols(head: &RequestHead) -> impl Iterator<Item = &str> {
    let offered = head.headers().get(SEC_WEBSOCKET_PROTOCOL);
    let offered = offered.and_then(|value| value.to_str().ok());
    offered
        .into_iter()
        .flat_map(|offered| offered.split(','))
        .map(str::trim)
        .filter(|offer| !offer.is_empty())
}

/// Tokens hold nothing that has to be escaped, but a client may escape all the same.
fn from_query(value: &str) -> Result<Token, Denial> {
    // Not decoded before its size is known to be bearable: escapes make three bytes of one.
    if value.len() > 3 * TOKEN_BYTES_MAX {
        return Err(Denial::TokenTooLarge);
    }
    Token::from_bytes(&percent_decoded(value).ok_or(Denial::Malformed)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use actix_http::header::HeaderName;
    use actix_http::{Request, Uri};

    fn head(uri: &str, headers: &[(HeaderName, &'static str)]) -> Request {
        let mut request = Request::new();
        request.head_mut().uri = uri.parse::<Uri>().unwrap();
        for (name, value) in headers {
            let value = HeaderValue::from_static(value);
            request.head_mut().headers_mut().append(name.clone(), value);
        }
        request
    }

    #[test]
    fn a_token_is_found_wherever_a_client_can_put_it() {
        let bearer = (AUTHORIZATION, "Bearer aaa");
        let offer = (SEC_WEBSOCKET_PROTOCOL, "chat, driftless.token.bbb");
        let wanted = |text: &str| Ok(Some(Token::new(text).unwrap()));
        let table = [
            ("/ws/a", &[][..], Ok(None)),
            ("/ws/a?token=ccc", &[], wanted("ccc")),
            ("/ws/a?x=1&token=c%63c&y", &[], wanted("ccc")),
            ("/ws/a?token=", &[], Ok(None)),
            ("/ws/a?mytoken=c", &[], Ok(None)),
            ("/ws/a?token=%f", &[], Err(Denial::Malformed)),
            (
                "/ws/a?token=ccc",
                std::slice::from_ref(&offer),
                wanted("bbb"),
            ),
            (
                "/ws/a?token=ccc",
                &[offer.clone(), bearer.clone()],
                wanted("aaa"),
            ),
            ("/ws/a", &[(AUTHORIZATION, "bearer  aaa ")], wanted("aaa")),
            (
                "/ws/a?token=ccc",
                &[(AUTHORIZATION, "Basic aaa")],
                wanted("ccc"),
            ),
        ];
        for (uri, headers, wanted) in table {
            assert_eq!(
                token(head(uri, headers).head()),
                wanted,
                "{uri} {headers:?}"
            );
        }
    }

    #[test]
    fn a_token_is_never_answered_where_another_protocol_is_on_offer() {
        let table = [
            ("chat", Some("chat")),
            ("driftless.token.x, chat", Some("chat")),
            ("driftless.token.x", Some("driftless.token.x")),
            (" , ", None),
        ];
        for (offer, wanted) in table {
            let request = head("/", &[(SEC_WEBSOCKET_PROTOCOL, offer)]);
            let chosen = chosen_protocol(request.head());
            assert_eq!(chosen.as_ref().map(|value| value.to_str().unwrap()), wanted);
        }
    }
}
