//! Which web pages may come, to sockets and to calls.
//!
//! A browser lets any page open a WebSocket to any host and send it a plain `POST`, a local port
//! included, and names the page in `Origin`. Other clients do not send that header and are not bound
//! by it.
//!
//! A page at the server's own host is its own, but whoever owns a name may have it lead to any address
//! once the page is there (DNS rebinding): then `Origin` and `Host` name the stranger alike, and within
//! its own host a browser reads without `Origin`. Where tokens decide, such a page has none. Where
//! nobody is asked, a name counts only if it was set here.

use std::net::IpAddr;

use actix_http::RequestHead;
use actix_http::header::{HOST, ORIGIN};

use super::Edge;

/// Why a page may not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ForeignPage {
    /// Its origin is not the server's own, nor one of the list.
    #[error(
        "pages of this origin may not connect; add the origin to the setting allow_origin (flag \
         --allow-origin)"
    )]
    Origin,
    /// It may be anybody's who had a name lead here.
    #[error(
        "this server asks nobody who they are, so it does not go by a name that was not set: add the \
         origin, such as http://NAME:PORT, to the setting allow_origin (flag --allow-origin), set up \
         authentication, or let everybody in with --insecure-open"
    )]
    Name,
}

impl ForeignPage {
    /// The label of the metric.
    pub(super) const REASON: &'static str = "origin";
}

/// Whose pages may come.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnPages<'a> {
    /// Origins as browsers write them.
    allowed: &'a [String],
    /// Whatever name a request calls the server by is its own.
    goes_by_any_name: bool,
}

impl Edge {
    /// Whose pages may come to this server.
    pub(super) fn own_pages(&self) -> OwnPages<'_> {
        OwnPages {
            allowed: &self.options.allow_origins,
            goes_by_any_name: self.options.insecure_open || !self.authority.is_open(),
        }
    }
}

impl OwnPages<'_> {
    /// For a WebSocket: browsers name the page with each.
    pub(super) fn admit_socket(self, head: &RequestHead) -> Result<(), ForeignPage> {
        let (origin, host) = headers(head);
        match origin {
            Some(origin) => self.admit_page(origin, host),
            None => Ok(()),
        }
    }

    /// For a call: browsers do not name a page that reads from its own host.
    pub(super) fn admit_call(self, head: &RequestHead) -> Result<(), ForeignPage> {
        let (origin, host) = headers(head);
        match (origin, host) {
            (Some(origin), host) => self.admit_page(origin, host),
            (None, Some(host)) if !self.is_own_name(host) => Err(ForeignPage::Name),
            (None, _) => Ok(()),
        }
    }

    fn admit_page(self, origin: &str, host: Option<&str>) -> Result<(), ForeignPage> {
        let mut allowed = self.allowed.iter();
        if allowed.any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
            return Ok(());
        }
        // "null" and anything else without an authority is a page that hides where it came from.
        let (_, authority) = origin.split_once("://").ok_or(ForeignPage::Origin)?;
        if is_local(authority) {
            return Ok(());
        }
        match host {
            Some(host) if host.eq_ignore_ascii_case(authority) => match self.is_own_name(host) {
                true => Ok(()),
                false => Err(ForeignPage::Name),
            },
            _ => Err(ForeignPage::Origin),
        }
    }

    /// Whether the server goes by what a request calls it.
    fn is_own_name(self, host: &str) -> bool {
        let name = without_port(host);
        let mut allowed = self.allowed.iter().filter_map(|origin| {
            let (_, authority) = origin.split_once("://")?;
            Some(without_port(authority))
        });
        self.goes_by_any_name
            || is_local(host)
            || is_address(name)
            || allowed.any(|allowed| allowed.eq_ignore_ascii_case(name))
    }
}

/// `Origin` and `Host`; what is no text is a page that hides.
fn headers(head: &RequestHead) -> (Option<&str>, Option<&str>) {
    let text = |name| {
        let value = head.headers().get(name)?;
        Some(value.to_str().unwrap_or("null"))
    };
    (text(ORIGIN), text(HOST))
}

/// True for this machine itself, on any port.
fn is_local(authority: &str) -> bool {
    let name = without_port(authority);
    ["localhost", "127.0.0.1", "[::1]"]
        .iter()
        .any(|local| local.eq_ignore_ascii_case(name))
}

/// True for an address, which nobody else can have lead here.
fn is_address(name: &str) -> bool {
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    bare.parse::<IpAddr>().is_ok()
}

/// What stands before the port; all of it when that is no port.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            name
        }
        _ => authority,
    }
}

#[cfg(test)]
#[path = "origin_tests.rs"]
mod tests;
