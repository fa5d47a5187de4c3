//! Pages and names, told apart.

#![allow(clippy::unwrap_used)]
use super::ForeignPage::{Name, Origin};
use super::*;
use actix_http::Request;
use actix_http::header::{HeaderName, HeaderValue};

const LOCAL: &str = "localhost:8080";

fn request(origin: Option<&str>, host: Option<&str>) -> Request {
    let mut request = Request::new();
    let mut put = |name: HeaderName, value: Option<&str>| {
        if let Some(value) = value {
            let value = HeaderValue::from_str(value).unwrap();
            request.head_mut().headers_mut().insert(name, value);
        }
    };
    put(ORIGIN, origin);
    put(HOST, host);
    request
}

/// Who asks nobody and was told no name goes by few.
fn check(goes_by_any_name: bool, table: &[(&str, Option<&str>, Result<(), ForeignPage>)]) {
    let allowed = ["https://app.example.com".to_owned()];
    let own = OwnPages {
        allowed: &allowed,
        goes_by_any_name,
    };
    for (origin, host, wanted) in table {
        let request = request(Some(origin), *host);
        assert_eq!(
            own.admit_socket(request.head()),
            *wanted,
            "{origin} to {host:?}"
        );
        assert_eq!(
            own.admit_call(request.head()),
            *wanted,
            "{origin} to {host:?}"
        );
    }
}

#[test]
fn pages_of_this_machine_of_an_address_and_of_the_list_come_everywhere() {
    for goes_by_any_name in [true, false] {
        check(
            goes_by_any_name,
            &[
                ("http://localhost", None, Ok(())),
                ("http://localhost:5173", Some(LOCAL), Ok(())),
                ("https://LOCALHOST:5173", Some(LOCAL), Ok(())),
                ("http://127.0.0.1:3000", Some(LOCAL), Ok(())),
                ("http://[::1]:3000", Some(LOCAL), Ok(())),
                ("http://192.0.2.1:8080", Some("192.0.2.1:8080"), Ok(())),
                ("http://[2001:db8::1]", Some("[2001:db8::1]"), Ok(())),
                ("https://app.example.com", Some("sync.example.com"), Ok(())),
                (
                    "http://app.example.com:8080",
                    Some("App.example.com:8080"),
                    Ok(()),
                ),
            ],
        );
    }
}

#[test]
fn the_own_host_is_own_by_name_where_that_proves_nothing_or_was_accepted() {
    for (goes_by_any_name, wanted) in [(true, Ok(())), (false, Err(Name))] {
        check(
            goes_by_any_name,
            &[
                ("https://docs.example.com", Some("docs.example.com"), wanted),
                (
                    "https://docs.example.com:444",
                    Some("docs.example.com:444"),
                    wanted,
                ),
                ("https://Docs.example.com", Some("docs.Example.com"), wanted),
            ],
        );
    }
}

#[test]
fn other_pages_do_not_come() {
    let refused = Err(Origin);
    for goes_by_any_name in [true, false] {
        check(
            goes_by_any_name,
            &[
                ("http://app.example.com", Some("sync.example.com"), refused),
                (
                    "https://docs.example.com:444",
                    Some("docs.example.com"),
                    refused,
                ),
                ("http://192.0.2.1:8080", Some(LOCAL), refused),
                ("https://evil.example", Some(LOCAL), refused),
                ("https://evil.example", None, refused),
                ("https://localhost.evil.example", Some(LOCAL), refused),
                ("https://localhost:80.evil.example", Some(LOCAL), refused),
                ("https://127.0.0.1.evil.example", Some(LOCAL), refused),
                ("https://localhost:", Some("x"), refused),
                (
                    "https://evil.example/://localhost",
                    Some("localhost"),
                    refused,
                ),
                ("null", Some(LOCAL), refused),
                ("null", Some("null"), refused),
                ("", Some(""), refused),
                ("file://", Some(LOCAL), refused),
            ],
        );
    }
}

#[test]
fn who_names_no_page_may_call_by_names_that_are_known_and_connect_by_any() {
    let allowed = ["https://app.example.com".to_owned()];
    for (host, own) in [
        (None, true),
        (Some(LOCAL), true),
        (Some("127.0.0.1:8080"), true),
        (Some("[::1]:8080"), true),
        (Some("192.0.2.1"), true),
        (Some("app.example.com:8080"), true),
        (Some("evil.example:8080"), false),
        (Some("localhost.evil.example"), false),
    ] {
        let request = request(None, host);
        for goes_by_any_name in [true, false] {
            let pages = OwnPages {
                allowed: &allowed,
                goes_by_any_name,
            };
            let wanted = match own || goes_by_any_name {
                true => Ok(()),
                false => Err(Name),
            };
            assert_eq!(pages.admit_call(request.head()), wanted, "{host:?}");
            assert_eq!(pages.admit_socket(request.head()), Ok(()), "{host:?}");
        }
    }
}
