//! What `driftless doctor` finds about the settings of authentication.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Output;

use serde_json::Value;

use crate::server::driftless;

const SECRET: &str = "hunter2 and so many letters that it is long enough";

/// Answers every request with this; its address.
fn answering(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head = lines.by_ref().map_while(Result::ok);
            let asked: Vec<_> = head.take_while(|line| !line.is_empty()).collect();
            let asked = asked.first().map_or("", |line| &line[..4]);
            let mut stream = stream;
            // A hook is never asked about anybody.
            let answer = if asked == "POST" {
                "HTTP/1.1 599 No\r\n\r\n"
            } else {
                answer
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

fn doctor(arguments: &[&str], secret: Option<&str>) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = driftless(&["doctor", "--json", "--data"]);
    command.arg(folder.path()).args(arguments);
    if let Some(name) = secret {
        command.env(name, SECRET);
    }
    let output = command.output().unwrap();
    let told = [&output.stdout[..], &output.stderr].concat();
    assert!(!String::from_utf8_lossy(&told).contains("hunter2"));
    output
}

/// State and text of one check.
fn check(output: &Output, name: &str) -> (String, String) {
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|one| one["check"] == name);
    let found = found.unwrap_or_else(|| panic!("no {name} in {report}"));
    let text = |key: &str| found[key].as_str().unwrap().to_owned();
    (text("state"), text("text"))
}

fn is(output: &Output, name: &str, state: &str, told: &str) {
    let (found, text) = check(output, name);
    assert_eq!(found, state, "{name}: {text}");
    assert!(text.contains(told), "{name}: {told} in {text}");
}

#[test]
fn without_authentication_it_says_who_may_do_what() {
    is(&doctor(&[], None), "authentication", "ok", "this machine");
    let open = doctor(&["--insecure-open", "--listen", "0.0.0.0:1"], None);
    is(&open, "authentication", "warning", "--auth-keys");
    assert!(open.status.success());
    let unguarded = doctor(&["--listen", "0.0.0.0:1"], None);
    is(&unguarded, "authentication", "problem", "--insecure-open");
    assert_eq!(unguarded.status.code(), Some(4));
}

#[test]
fn keys_of_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mut generate = driftless(&["keys", "generate", "--out"]);
    generate.arg(path("pair.key"));
    let made = generate.output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let well = doctor(
        &[
            "--auth-keys",
            &path("pair.key.pub"),
            "--auth-signing-key",
            &path("pair.key"),
        ],
        Some("DRIFTLESS_AUTH_SECRET"),
    );
    is(&well, "auth keys", "ok", "1 key");
    is(&well, "signing key", "ok", "can be read");
    is(&well, "auth secret", "ok", "HS256");
    assert!(well.status.success());

    std::fs::write(path("broken.pem"), "no key").unwrap();
    let table = [
        (
            "--auth-keys",
            "auth keys",
            path("none.pem"),
            "cannot be read",
        ),
        (
            "--auth-keys",
            "auth keys",
            path("broken.pem"),
            "holds neither PEM",
        ),
        (
            "--auth-keys",
            "auth keys",
            path("pair.key"),
            "only its public half",
        ),
        (
            "--auth-signing-key",
            "signing key",
            path("none.key"),
            "cannot be read",
        ),
    ];
    for (flag, subject, path, told) in table {
        let bad = doctor(&[flag, &path], None);
        is(&bad, subject, "problem", told);
        assert_eq!(bad.status.code(), Some(4), "{path}");
    }
}

#[test]
fn urls_are_asked_for_what_harms_nobody() {
    let keys = answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 90\r\nConnection: close\r\n\r\n\
         {\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"c3nZ68xzLWsfFHzPa3CJo368IDYVMr2kY7trMs5Tt4E\"}]}",
    );
    let empty = answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
    let busy = answering("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let refusing = answering("HTTP/1.1 405 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let jwks = |address: &str| {
        let url = format!("http://{address}/keys?secret=hunter2");
        doctor(&["--auth-jwks-url", &url], None)
    };
    let well = jwks(&keys);
    is(&well, "auth jwks url", "ok", "1 key");
    is(&well, "audience", "warning", "--auth-audience");
    assert!(well.status.success());
    for address in [&empty, &busy, "127.0.0.1:1"] {
        let bad = jwks(address);
        is(&bad, "auth jwks url", "problem", "--auth-jwks-url");
        assert_eq!(bad.status.code(), Some(5), "{address}");
    }
    let hook = |address: &str| {
        let url = format!("http://{address}/may?secret=hunter2");
        doctor(
            &["--auth-hook-url", &url],
            Some("DRIFTLESS_AUTH_HOOK_SECRET"),
        )
    };
    is(&hook(&refusing), "auth hook", "ok", "was not asked");
    is(&hook(&busy), "auth hook", "warning", "application's log");
    let away = hook("127.0.0.1:1");
    is(&away, "auth hook", "problem", "--auth-hook-url");
    assert_eq!(away.status.code(), Some(5));
}
