//! Keys and tokens from the command line, accepted by a server's authority.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;

use driftless_proto::name::DocumentName;
use futures_util::FutureExt;

use super::*;
use crate::auth::{Authority, Denial, Grant, Question, Right, Token};
use crate::clock::Clock;

fn decided(flags: &[(&str, &str)], document: &str, token: &str) -> Result<Grant, Denial> {
    let none = Variables::new();
    let settings = config::load(&Flags::given(flags), &none, 1)
        .unwrap()
        .settings;
    let authority = Authority::from_settings(&settings, Clock::start()).unwrap();
    let question = Question {
        document: DocumentName::new(document).unwrap(),
        token: Some(Token::new(token.trim_end()).unwrap()),
        address: IpAddr::from([127, 0, 0, 1]),
        door: "test",
    };
    authority.decide(&question).now_or_never().unwrap()
}

#[test]
fn from_nothing_to_an_accepted_token() {
    let folder = tempfile::tempdir().unwrap();
    for algorithm in ["ed25519", "es256"] {
        let private = folder.path().join(algorithm);
        let private = private.to_str().unwrap();
        let public = format!("{private}.pub");
        let told = ran(&[
            "keys",
            "generate",
            "--algorithm",
            algorithm,
            "--out",
            private,
        ])
        .text();
        assert!(
            told.contains(&format!("driftless serve --auth-keys '{public}'")),
            "{told}"
        );
        let mode = std::fs::metadata(private).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let sign = [
            "token",
            "--auth-signing-key",
            private,
            "--doc",
            "team/*=write",
        ];
        let more = [
            "--doc", "a=b=read", "--sub", "ada", "--ttl", "1h", "--id", "t1", "--relay",
        ];
        let token = ran(&[&sign[..], &more].concat()).text();
        assert_eq!(token.lines().count(), 1);
        let grant = decided(&[("auth_keys", &public)], "team/a", &token).unwrap();
        assert_eq!((grant.right, grant.may_relay), (Right::Write, true));
        assert_eq!(grant.subject.as_deref(), Some("ada"));
        assert_eq!(grant.token_id.as_deref(), Some("t1"));
        let read = decided(&[("auth_keys", &public)], "a=b", &token).unwrap();
        assert_eq!(read.right, Right::Read);
    }
}

#[test]
fn a_secret_signs_what_it_verifies_with_names_of_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let out = path.to_str().unwrap();
    let told = ran(&["keys", "generate", "--algorithm", "hs256", "--out", out]).text();
    assert!(told.contains("DRIFTLESS_AUTH_SECRET=\"$(cat"), "{told}");
    assert!(!folder.path().join("secret.pub").exists());
    let secret = std::fs::read_to_string(&path).unwrap();
    let secret: &'static str = secret.trim_end().to_owned().leak();
    let environment = vec![
        ("DRIFTLESS_AUTH_SECRET", secret),
        ("DRIFTLESS_AUTH_AUDIENCE", "here"),
        ("DRIFTLESS_AUTH_ISSUER", "me"),
    ];
    let flags = [
        ("auth_secret", secret),
        ("auth_audience", "here"),
        ("auth_issuer", "me"),
    ];
    let token = ran_with(&["token", "--doc", "*=read"], &environment, b"").text();
    let grant = decided(&flags, "a", &token).unwrap();
    assert!(grant.token_id.is_some_and(|id| id.len() == 32), "random");
    let other = ["token", "--doc", "*=read", "--aud", "there"];
    let token = ran_with(&other, &environment, b"").text();
    assert_eq!(decided(&flags, "a", &token), Err(Denial::WrongAudience));
    let later = ["token", "--doc", "*=read", "--not-before", "10m"];
    let token = ran_with(&later, &environment, b"").text();
    assert_eq!(decided(&flags, "a", &token), Err(Denial::NotYetValid));
    for arguments in [&["config"][..], &["config", "--json"]] {
        let printed = ran_with(arguments, &environment, b"").text();
        assert!(
            printed.contains("***") && !printed.contains(secret),
            "{printed}"
        );
    }
}

#[test]
fn keys_are_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let private = folder.path().join("k");
    let public = folder.path().join("k.pub");
    let out = private.to_str().unwrap();
    ran(&["keys", "generate", "--out", out]).text();
    let before = std::fs::read(&private).unwrap();
    let again = ran(&["keys", "generate", "--out", out]);
    assert!(again.failed(EXIT_REFUSED).contains("never overwritten"));
    std::fs::remove_file(&public).unwrap();
    ran(&["keys", "generate", "--out", out]).failed(EXIT_REFUSED);
    assert_eq!(std::fs::read(&private).unwrap(), before);
    assert!(!public.exists());
    let nowhere = ran(&["keys", "generate", "--out", "/no/such/folder/k"]);
    assert!(nowhere.failed(EXIT_FAILED).contains("cannot be written"));
}

#[test]
fn what_cannot_be_minted_is_told() {
    let secret = "x".repeat(32);
    let secret: &'static str = secret.leak();
    let environment = vec![("DRIFTLESS_AUTH_SECRET", secret)];
    let table: [(&[&str], u8, &str); 8] = [
        (&["token"], EXIT_USAGE, "--doc"),
        (&["token", "--doc", "team/*"], EXIT_USAGE, "PATTERN=RIGHT"),
        (&["token", "--doc", "=write"], EXIT_USAGE, "PATTERN=RIGHT"),
        (
            &["token", "--doc", "a=owner"],
            EXIT_USAGE,
            "comment, write and admin",
        ),
        (
            &["token", "--doc", "a=read", "--ttl", "60"],
            EXIT_USAGE,
            "--ttl 60",
        ),
        (
            &["token", "--doc", "a=read", "--ttl", "0"],
            EXIT_REFUSED,
            "before it begins",
        ),
        (
            &["token", "--doc", "a=read", "--sub", ""],
            EXIT_REFUSED,
            "1 to 256",
        ),
        (
            &["token", "--doc", "a=read", "--auth-signing-key", "/no/such"],
            EXIT_USAGE,
            "/no/such, cannot be read",
        ),
    ];
    for (arguments, code, wanted) in table {
        let failed = ran_with(arguments, &environment, b"");
        let told = failed.failed(code);
        assert!(told.contains(wanted) && !told.contains(secret), "{told}");
    }
    let keyless = ran(&["token", "--doc", "a=read"]);
    assert!(keyless.failed(EXIT_USAGE).contains("--auth-signing-key"));
    let short = ran_with(
        &["token", "--doc", "a=read"],
        &vec![("DRIFTLESS_AUTH_SECRET", "hunter2")],
        b"",
    );
    let told = short.failed(EXIT_USAGE);
    assert!(
        told.contains("at least 32 bytes") && !told.contains("hunter2"),
        "{told}"
    );
}
