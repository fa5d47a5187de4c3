//! Which web pages may connect.
//!
//! A browser lets any page open a WebSocket to any host, a local port included, and names the page
//! in `Origin`. Other clients do not send that header and are not bound by it.

/// Whether a request with this `Origin` may connect to a server addressed as `host` (its `Host`
/// header). `allowed` holds origins as browsers write them, in lower case.
pub(super) fn is_allowed(origin: Option<&str>, host: Option<&str>, allowed: &[String]) -> bool {
    let Some(origin) = origin else {
        return true;
    };
    if allowed
        .iter()
        .any(|allowed| allowed.eq_ignore_ascii_case(origin))
    {
        return true;
    }
    // "null" and anything else without an authority is a page that hides where it came from.
    let Some((_, authority)) = origin.split_once("://") else {
        return false;
    };
    is_local(authority) || host.is_some_and(|host| host.eq_ignore_ascii_case(authority))
}

/// True for this machine itself, on any port.
fn is_local(authority: &str) -> bool {
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|local| {
        authority
            .get(..local.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(local))
            && is_port(&authority[local.len()..])
    })
}

fn is_port(rest: &str) -> bool {
    rest.is_empty()
        || rest
            .strip_prefix(':')
            .is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: Option<&str> = Some("localhost:8080");

    fn check(table: &[(Option<&str>, Option<&str>, bool)]) {
        let allowed = ["https://app.example.com".to_owned()];
        for (origin, host, wanted) in table {
            assert_eq!(
                is_allowed(*origin, *host, &allowed),
                *wanted,
                "{origin:?} to {host:?}"
            );
        }
    }

    #[test]
    fn pages_of_this_machine_of_the_same_host_and_of_the_list_connect() {
        check(&[
            (None, None, true),
            (Some("http://localhost"), None, true),
            (Some("http://localhost:5173"), LOCAL, true),
            (Some("https://LOCALHOST:5173"), LOCAL, true),
            (Some("http://127.0.0.1:3000"), LOCAL, true),
            (Some("http://[::1]:3000"), LOCAL, true),
            (
                Some("https://docs.example.com"),
                Some("docs.example.com"),
                true,
            ),
            (
                Some("https://docs.example.com:444"),
                Some("docs.example.com:444"),
                true,
            ),
            (
                Some("https://Docs.example.com"),
                Some("docs.Example.com"),
                true,
            ),
            (
                Some("https://app.example.com"),
                Some("sync.example.com"),
                true,
            ),
        ]);
    }

    #[test]
    fn other_pages_do_not() {
        check(&[
            (
                Some("http://app.example.com"),
                Some("sync.example.com"),
                false,
            ),
            (
                Some("https://docs.example.com:444"),
                Some("docs.example.com"),
                false,
            ),
            (Some("https://evil.example"), LOCAL, false),
            (Some("https://evil.example"), None, false),
            (Some("https://localhost.evil.example"), LOCAL, false),
            (Some("https://localhost:80.evil.example"), LOCAL, false),
            (Some("https://127.0.0.1.evil.example"), LOCAL, false),
            (Some("https://localhost:"), Some("x"), false),
            (
                Some("https://evil.example/://localhost"),
                Some("localhost"),
                false,
            ),
            (Some("null"), LOCAL, false),
            (Some("null"), Some("null"), false),
            (Some(""), Some(""), false),
            (Some("file://"), LOCAL, false),
        ]);
    }
}
