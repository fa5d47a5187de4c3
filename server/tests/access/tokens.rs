//! What is said at the doors to tokens that are worth nothing, and how it is counted; keys that change
//! and an application that hangs beside live sessions.

use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::{hmac, signature};
use serde_json::{Value, json};

use crate::client::{Client, PATIENCE, letter};
use crate::hook::Application;
use crate::server::Server;

/// Far in the past, and far in the future; seconds.
const LONG_AGO: u64 = 1_500_000_000;
const FAR_AWAY: u64 = 4_102_444_800;

/// Keys that are used nowhere else.
fn vectors() -> Value {
    serde_json::from_str(include_str!("../../src/auth/tests/vectors.json")).unwrap()
}

fn pem(algorithm: &str, form: &str) -> String {
    vectors()[algorithm][form].as_str().unwrap().to_owned()
}

/// Good claims, but for these.
fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "sub": "ada",
        "exp": FAR_AWAY,
        "aud": "driftless",
        "iss": "https://issuer.example",
        "driftless.docs": { "*": "write" },
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn unsigned(algorithm: &str, claims: &Value) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(&json!({ "alg": algorithm })), part(claims))
}

/// Signed by the key that servers here trust.
fn signed(claims: &Value) -> String {
    let pem = pem("EdDSA", "pkcs8");
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::prelude::BASE64_STANDARD.decode(body).unwrap();
    let key = signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).unwrap();
    let text = unsigned("EdDSA", claims);
    let signature = key.sign(text.as_bytes());
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn signed_with_secret(secret: &[u8], claims: &Value) -> String {
    let text = unsigned("HS256", claims);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes());
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(tag))
}

/// A server that trusts the public keys in this file.
fn with_keys(file: &Path, arguments: &[&str]) -> Server {
    let keys = ["--auth-keys", file.to_str().unwrap()];
    Server::start(&[&keys, arguments].concat(), |_| {})
}

fn until_counted(server: &Server, line: &str) {
    let begun = Instant::now();
    while !server.counts(line) {
        let all = server.get("/metrics");
        assert!(begun.elapsed() < PATIENCE, "{line} is not in {all}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Tokens that open nothing, each with its outcome and its close code.
fn worthless(rsa: &str) -> Vec<(&'static str, u16, String)> {
    let good = claims(json!({}));
    let mut broken = signed(&good);
    // The last character holds bits that do not count.
    let at = broken.len() - 5;
    let other = if broken.as_bytes()[at] == b'A' {
        "B"
    } else {
        "A"
    };
    broken.replace_range(at..=at, other);
    let elsewhere = json!({ "driftless.docs": { "elsewhere": "write" } });
    vec![
        ("expired", 4401, signed(&claims(json!({ "exp": LONG_AGO })))),
        (
            "not_yet_valid",
            4401,
            signed(&claims(json!({ "nbf": FAR_AWAY - 1 }))),
        ),
        (
            "wrong_audience",
            4401,
            signed(&claims(json!({ "aud": "another" }))),
        ),
        (
            "wrong_issuer",
            4401,
            signed(&claims(json!({ "iss": "https://another" }))),
        ),
        ("malformed", 4401, format!("{}.", unsigned("none", &good))),
        (
            "unknown_key",
            4401,
            signed_with_secret(rsa.as_bytes(), &good),
        ),
        ("bad_signature", 4401, broken),
        ("token_too_large", 4401, "x".repeat(20 << 10)),
        ("no_right", 4403, signed(&claims(elsewhere))),
        ("token_missing", 4401, String::new()),
    ]
}

#[test]
fn a_token_that_is_worth_nothing_gets_its_code_and_is_counted_at_each_door() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.pem");
    let rsa = pem("RS256", "pem");
    std::fs::write(&file, format!("{rsa}\n{}", pem("EdDSA", "pem"))).unwrap();
    let named = [
        "--auth-audience",
        "driftless",
        "--auth-issuer",
        "https://issuer.example",
    ];
    let server = with_keys(&file, &named);
    for (outcome, code, token) in &worthless(&rsa) {
        for (door, path) in [("y-websocket", "/ws/plan"), ("y-sweet", "/d/plan/ws/plan")] {
            let mut client = Client::connect(server.address, &format!("{path}?token={token}"));
            assert_eq!(client.until_closed(), *code, "{outcome} at {door}");
            let line = format!(
                "driftless_auth_decisions_total{{outcome=\"{outcome}\",door=\"{door}\"}} 1"
            );
            until_counted(&server, &line);
        }
        // Over HTTP the same, as a status.
        let answer = server.get(&format!("/d/plan/as-update?token={token}"));
        let status = if *code == 4403 { "403" } else { "401" };
        assert!(
            answer.starts_with(&format!("HTTP/1.0 {status}")),
            "{outcome}: {answer}"
        );
        until_counted(
            &server,
            &format!("driftless_auth_decisions_total{{outcome=\"{outcome}\",door=\"y-sweet\"}} 2"),
        );
    }
    counts_only_where_it_is_looked_for(&server, &signed(&claims(json!({}))));
}

fn counts_only_where_it_is_looked_for(server: &Server, good: &str) {
    // Elsewhere none was shown.
    for path in [
        format!("/ws/plan?Token={good}"),
        format!("/ws/plan?access_token={good}"),
        "/ws/plan?token=".to_owned(),
    ] {
        let headers =
            format!("Cookie: token={good}\r\nX-Token: {good}\r\nAuthorization: Basic {good}\r\n");
        let mut client = Client::connect_with(server.address, &path, &headers);
        assert_eq!(client.until_closed(), 4401, "{path}");
    }
    // Where it is, it counts.
    let mut client = Client::connect_with(
        server.address,
        "/ws/plan",
        &format!("Authorization: Bearer {good}\r\n"),
    );
    client.write(&letter(1, 'a'));
}

#[test]
fn keys_that_change_decide_about_who_comes_and_not_about_who_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let secrets = [
        "the first secret, long enough to be one",
        "the second secret, long enough to be one",
    ];
    let replace = |secrets: &[&str]| {
        let keys = secrets
            .iter()
            .map(|secret| json!({ "kty": "oct", "k": BASE64_URL_SAFE_NO_PAD.encode(secret) }));
        let next = folder.path().join("next.json");
        let keys = json!({ "keys": keys.collect::<Vec<_>>() });
        std::fs::write(&next, keys.to_string()).unwrap();
        std::fs::rename(&next, &file).unwrap();
    };
    replace(&secrets[..1]);
    let server = with_keys(&file, &[]);
    let claims = claims(json!({}));
    let tokens = secrets.map(|secret| signed_with_secret(secret.as_bytes(), &claims));
    let join = |token: &str| Client::plain(server.address, "plan", Some(token));
    let mut early = join(&tokens[0]);
    early.write(&letter(1, 'a'));
    assert_eq!(join(&tokens[1]).until_closed(), 4401);

    replace(&secrets);
    let reads = "driftless_auth_key_refreshes_total{place=\"file\",result=\"ok\"}";
    until_counted(&server, &format!("{reads} 2"));
    join(&tokens[1]).write(&letter(2, 'b'));
    join(&tokens[0]).write(&letter(3, 'c'));

    replace(&secrets[1..]);
    until_counted(&server, &format!("{reads} 3"));
    assert_eq!(join(&tokens[0]).until_closed(), 4401);
    join(&tokens[1]).write(&letter(4, 'd'));
    early.write(&letter(5, 'e'));
    assert!(server.text("plan").contains('e'), "who was let in stays");
}

#[test]
fn an_application_that_hangs_holds_up_only_who_asks_it() {
    let application = Application::start();
    let server = Server::with_impatient_hook(&application.url);
    let mut inside = Client::plain(server.address, "plan", Some("t"));
    inside.write(&letter(1, 'a'));
    application.hang(true);
    let begun = Instant::now();
    let waiting: Vec<_> = (0..5)
        .map(|at| {
            let path = match at % 2 {
                0 => format!("/ws/plan?token=t{at}"),
                _ => format!("/d/plan/ws/plan?token=t{at}"),
            };
            Client::connect(server.address, &path)
        })
        .collect();
    application.until_asked(6);
    for round in 0..5 {
        inside.write(&letter(10 + round, 'b'));
    }
    // A remembered answer needs nobody.
    Client::plain(server.address, "plan", Some("t")).write(&letter(20, 'c'));
    for mut client in waiting {
        assert_eq!(client.until_closed(), 4503);
    }
    // Its timeout is three seconds; the server may be slow, and not for ever.
    assert!(begun.elapsed() < PATIENCE);
    until_counted(&server, "driftless_auth_hook_circuit_open 1");
    let asked = application.asked();
    let mut late = Client::plain(server.address, "plan", Some("late"));
    assert_eq!(late.until_closed(), 4503);
    until_counted(
        &server,
        "driftless_auth_hook_failures_total{reason=\"timeout\"} 5",
    );
    assert_eq!(application.asked(), asked, "it is left alone");
    for (outcome, count) in [("hook_failed", 3), ("hook_paused", 1)] {
        until_counted(
            &server,
            &format!(
                "driftless_auth_decisions_total{{outcome=\"{outcome}\",door=\"y-websocket\"}} {count}"
            ),
        );
    }
    inside.write(&letter(30, 'd'));
    application.hang(false);
    let begun = Instant::now();
    loop {
        let mut client = Client::connect(server.address, "/ws/plan?token=again");
        client.say(&[0, 0, 1, 0]);
        if let crate::client::Heard::Frame(_) = client.hear() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "it is never asked again");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_channel_whose_question_takes_too_long_is_told_to_try_again() {
    let application = Application::start();
    let server = Server::start(
        &[
            "--auth-hook-url",
            &application.url,
            "--auth-hook-timeout-ms",
            "1m",
            "--unauthenticated-timeout-ms",
            "4s",
        ],
        |command| {
            command.env(
                "DRIFTLESS_AUTH_HOOK_SECRET",
                "a secret that is thirty-two bytes or longer",
            );
        },
    );
    let mut client = Client::hocuspocus(server.address, "plan");
    client.show("t");
    client.until_told("read-write");
    application.hang(true);
    client.address("slow");
    client.show("t");
    client.until_told("authorization-unavailable");
    client.address("silent");
    client.say(&[0, 0, 1, 0]);
    client.until_told("permission-denied");
    client.address("plan");
    client.write(&letter(1, 'a'));
    for line in [
        "driftless_refused_total{reason=\"unauthenticated_timeout\"} 1",
        "driftless_auth_decisions_total{outcome=\"token_missing\",door=\"hocuspocus\"} 1",
    ] {
        until_counted(&server, line);
    }
    application.hang(false);
    client.address("slow");
    // The same question would wait for the answer that does not come.
    client.show("t again");
    client.until_told("read-write");
    // A connection without any document ends, and its client comes back by itself.
    application.hang(true);
    let mut waiting = Client::hocuspocus(server.address, "slow");
    waiting.show("another");
    assert_eq!(waiting.until_closed(), 4408);
}
