//! The authorization hook against a real server, well-behaved and not.

use std::sync::Mutex;

use ring::hmac;
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use super::server::{Asked, Reply, TestServer};
use super::*;
use crate::auth::hook::{FAILURES_MAX, PAUSE_MS, QUESTIONS_MAX, REQUESTS_MAX};
use crate::config::check;

const FAILED: Denial = Denial::Unavailable(Trouble::Hook);
const PAUSED: Denial = Denial::Unavailable(Trouble::HookPaused);

fn allow(right: &str) -> Reply {
    Reply::Now(200, json!({ "right": right, "subject": "ada" }).to_string())
}

/// An application, and an authority that asks it.
fn hooked(
    flags: &[(&str, &str)],
    reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> (TestServer, Authority, ManualTime) {
    let server = TestServer::start(reply);
    let url = server.url("/hook?app=1");
    let own = [("auth_hook_url", &*url), ("auth_hook_secret", SECRET)];
    let (authority, time) = authority(&[&own, flags].concat());
    (server, authority, time)
}

/// One whose replies can be changed.
fn changeable(
    flags: &[(&str, &str)],
    first: Reply,
) -> (TestServer, Authority, ManualTime, Arc<Mutex<Reply>>) {
    let reply = Arc::new(Mutex::new(first));
    let current = reply.clone();
    let (server, authority, time) = hooked(flags, move |_| current.lock().unwrap().clone());
    (server, authority, time, reply)
}

async fn ask(authority: &Authority, token: &str) -> Result<Right, Denial> {
    let question = question("team/a", token);
    authority.decide(&question).await.map(|grant| grant.right)
}

async fn ask_anew(authority: &Authority, token: &str) -> Result<Right, Denial> {
    authority.doubt(&question("team/a", token));
    ask(authority, token).await
}

#[tokio::test]
async fn the_application_is_asked_with_a_signature_it_can_check() {
    let (server, authority, _) = hooked(&[], |_| allow("comment"));
    let grant = authority
        .decide(&question("team/a", "tok\"en"))
        .await
        .unwrap();
    assert_eq!(
        (grant.right, grant.subject.as_deref()),
        (Right::Comment, Some("ada"))
    );
    let anonymous = Question {
        token: None,
        ..question("x", "")
    };
    authority.decide(&anonymous).await.unwrap();
    let asked = server.asked();
    assert_eq!(asked[0].path, "/hook?app=1");
    assert_eq!(asked[0].header("content-type"), "application/json");
    let body: Json = serde_json::from_str(&asked[0].body).unwrap();
    let wanted = json!({ "document": "team/a", "token": "tok\"en", "address": "192.0.2.7",
        "door": "test" });
    assert_eq!(body, wanted);
    let timestamp = asked[0].header("driftless-timestamp");
    assert_eq!(timestamp, (NOW_MS / 1_000).to_string());
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = hmac::sign(&key, format!("{timestamp}.{}", asked[0].body).as_bytes());
    let digits: String = signature
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        asked[0].header("driftless-signature"),
        format!("v1={digits}")
    );
    let body: Json = serde_json::from_str(&asked[1].body).unwrap();
    assert_eq!(body["token"], Json::Null);
}

#[tokio::test]
async fn answers_are_remembered_for_a_while_yes_and_no_alike() {
    let flags = [("auth_hook_cache_ms", "5s")];
    let (server, authority, time, reply) = changeable(&flags, allow("write"));
    for _ in 0..10 {
        assert_eq!(ask(&authority, "one").await, Ok(Right::Write));
    }
    *reply.lock().unwrap() = Reply::Now(403, String::new());
    for _ in 0..10 {
        assert_eq!(ask(&authority, "two").await, Err(Denial::Refused));
    }
    assert_eq!(server.asked().len(), 2);
    assert!(
        decided(&authority, "team/a", "one").is_ok(),
        "at the first poll"
    );
    time.advance(4_999);
    assert_eq!(ask(&authority, "one").await, Ok(Right::Write));
    time.advance(1);
    assert_eq!(ask(&authority, "one").await, Err(Denial::Refused));
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn a_remembered_answer_ends_with_its_grant() {
    let short = json!({ "right": "write", "expires_in_seconds": 2 }).to_string();
    let (server, authority, time) = hooked(&[], move |_| Reply::Now(200, short.clone()));
    let grant = authority.decide(&question("a", "t")).await.unwrap();
    assert_eq!(grant.expires_at_ms, Some(NOW_MS + 2_000));
    time.advance(1_999);
    assert_eq!(decided(&authority, "a", "t"), Ok(grant));
    time.advance(1);
    let grant = authority.decide(&question("a", "t")).await.unwrap();
    assert_eq!(grant.expires_at_ms, Some(NOW_MS + 4_000));
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn asking_anew_goes_past_what_is_remembered_and_is_remembered() {
    let (server, authority, _, reply) = changeable(&[], allow("write"));
    assert_eq!(ask(&authority, "t").await, Ok(Right::Write));
    *reply.lock().unwrap() = allow("read");
    assert_eq!(ask(&authority, "t").await, Ok(Right::Write));
    assert_eq!(ask_anew(&authority, "t").await, Ok(Right::Read));
    assert_eq!(ask(&authority, "t").await, Ok(Right::Read));
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn what_is_doubted_lets_nobody_in_whenever_it_was_asked() {
    let (server, authority, _, reply) = changeable(&[], allow("write"));
    assert_eq!(ask(&authority, "t").await, Ok(Right::Write));
    *reply.lock().unwrap() = Reply::Now(403, String::new());
    authority.doubt(&question("team/a", "t"));
    assert_eq!(authority.decide_unasked(&question("team/a", "t")), None);
    // Somebody else, before whoever doubted asks.
    assert_eq!(ask(&authority, "t").await, Err(Denial::Refused));
    assert_eq!(server.asked().len(), 2);

    // A yes that is under way when it is doubted.
    *reply.lock().unwrap() = Reply::Held(200, json!({ "right": "write" }).to_string());
    let asked = question("team/a", "u");
    let waiting = authority.decide(&asked);
    let mut waiting = std::pin::pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    server.wait_for(3);
    *reply.lock().unwrap() = Reply::Now(403, String::new());
    authority.doubt(&asked);
    server.release();
    assert_eq!(waiting.await, Err(Denial::Refused));
    assert_eq!(ask(&authority, "u").await, Err(Denial::Refused));
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn who_doubts_the_same_asks_once() {
    let (server, authority, _) = hooked(&[], |_| allow("read"));
    assert_eq!(ask(&authority, "t").await, Ok(Right::Read));
    let one = question("team/a", "t");
    (0..1_000).for_each(|_| authority.doubt(&one));
    let all = (0..1_000).map(|_| ask(&authority, "t"));
    let all = futures_util::future::join_all(all).await;
    assert!(all.into_iter().all(|answer| answer == Ok(Right::Read)));
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn the_same_question_is_asked_once_at_a_time() {
    let (server, authority, _) = hooked(&[], |asked| {
        Reply::Held(
            200,
            json!({ "right": "read", "subject": asked.body.len().to_string() }).to_string(),
        )
    });
    let mut waiting = JoinSet::new();
    for _ in 0..100 {
        let authority = authority.clone();
        waiting.spawn(async move { ask(&authority, "t").await });
    }
    // Whoever leaves takes nothing from the others.
    let dropped = question("team/a", "t");
    assert!(authority.decide(&dropped).now_or_never().is_none());
    while authority.decide(&dropped).now_or_never().is_none() && server.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    server.release();
    while let Some(answer) = waiting.join_next().await {
        assert_eq!(answer.unwrap(), Ok(Right::Read));
    }
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn whatever_is_no_clear_yes_denies_for_now() {
    let evil = TestServer::start(|_| allow("admin"));
    let redirect: &'static str = format!("location: {}\r\n", evil.url("/")).leak();
    let large = json!({ "right": "write", "x": "x".repeat(hook::ANSWER_BYTES_MAX) }).to_string();
    let table = [
        Reply::Now(500, json!({ "right": "write" }).to_string()),
        Reply::Now(200, "yes".into()),
        Reply::Now(200, large),
        Reply::With(302, redirect, String::new()),
        Reply::With(307, redirect, json!({ "right": "write" }).to_string()),
        Reply::Short(100),
        Reply::Close,
        Reply::Hang,
    ];
    for reply in table {
        let shown = format!("{reply:.60?}");
        let flags = [("auth_hook_timeout_ms", "6s")];
        let (server, authority, _, current) = changeable(&flags, reply);
        assert_eq!(ask(&authority, "t").await, Err(FAILED), "{shown}");
        // Trouble is not remembered.
        *current.lock().unwrap() = allow("read");
        assert_eq!(ask(&authority, "t").await, Ok(Right::Read), "{shown}");
        drop(server);
    }
    assert!(evil.asked().is_empty(), "redirects are not followed");
}

#[tokio::test]
async fn a_hook_that_keeps_failing_is_left_alone_and_probed() {
    let (server, authority, time, reply) = changeable(&[], Reply::Now(500, String::new()));
    for index in 0..FAILURES_MAX {
        assert_eq!(ask(&authority, &index.to_string()).await, Err(FAILED));
    }
    for _ in 0..20 {
        assert_eq!(ask(&authority, "t").await, Err(PAUSED));
        assert_eq!(ask_anew(&authority, "t").await, Err(PAUSED));
    }
    assert_eq!(server.asked().len(), FAILURES_MAX as usize);
    time.advance(PAUSE_MS);
    assert_eq!(ask(&authority, "probe").await, Err(FAILED));
    assert_eq!(ask(&authority, "t").await, Err(PAUSED));
    *reply.lock().unwrap() = Reply::Now(403, String::new());
    time.advance(PAUSE_MS);
    assert_eq!(
        ask(&authority, "probe").await,
        Err(Denial::Refused),
        "a no is an answer"
    );
    assert_eq!(ask(&authority, "t").await, Err(Denial::Refused));
    assert_eq!(server.asked().len(), FAILURES_MAX as usize + 3);
}

#[tokio::test]
async fn strangers_cannot_have_the_hook_left_alone() {
    let page = "x".repeat(hook::ANSWER_BYTES_MAX + 1);
    let table = [
        Reply::Now(400, String::new()),
        Reply::Now(404, page.clone()),
        Reply::Now(422, "{}".into()),
        Reply::Now(200, "who?".into()),
        Reply::Now(200, page),
        Reply::With(302, "location: /login\r\n", String::new()),
    ];
    for to_strangers in table {
        let shown = format!("{to_strangers:.60?}");
        let (server, authority, _) =
            hooked(&[], move |asked| match asked.body.contains("stranger") {
                true => to_strangers.clone(),
                false => allow("write"),
            });
        for index in 0..2 * FAILURES_MAX {
            let token = format!("stranger {index}");
            assert_eq!(ask(&authority, &token).await, Err(FAILED), "{shown}");
        }
        assert_eq!(ask(&authority, "ada's").await, Ok(Right::Write), "{shown}");
        drop(server);
    }
}

#[tokio::test]
async fn a_hook_that_is_asked_too_much_is_left_alone() {
    for status in [408, 429, 503] {
        let (_server, authority, _) = hooked(&[], move |_| Reply::Now(status, String::new()));
        for index in 0..FAILURES_MAX {
            assert_eq!(ask(&authority, &index.to_string()).await, Err(FAILED));
        }
        assert_eq!(ask(&authority, "t").await, Err(PAUSED), "{status}");
    }
}

#[tokio::test]
async fn a_flood_while_the_hook_hangs_is_bounded_and_ends() {
    let flags = [("auth_hook_timeout_ms", "6s")];
    let (server, authority, time, reply) = changeable(&flags, Reply::Hang);
    let flood = QUESTIONS_MAX + 500;
    let mut waiting = JoinSet::new();
    for index in 0..flood {
        let authority = authority.clone();
        waiting.spawn(async move { ask(&authority, &index.to_string()).await });
    }
    let mut counted = std::collections::HashMap::new();
    while let Some(answer) = waiting.join_next().await {
        *counted.entry(answer.unwrap().unwrap_err()).or_insert(0) += 1;
    }
    let count = |denial| counted.get(&denial).copied().unwrap_or(0);
    assert!(
        count(Denial::Unavailable(Trouble::HookBusy)) >= 500,
        "{counted:?}"
    );
    assert_eq!(counted.values().sum::<usize>(), flood);
    assert!(
        server.asked().len() <= REQUESTS_MAX + FAILURES_MAX as usize,
        "{}",
        server.asked().len()
    );
    // All of it is over: the hook works again after its pause.
    *reply.lock().unwrap() = allow("write");
    time.advance(PAUSE_MS);
    assert_eq!(ask(&authority, "t").await, Ok(Right::Write));
}

#[test]
fn keys_and_a_hook_contradict_each_other() {
    let hook = [
        ("auth_hook_url", "https://app.example/"),
        ("auth_hook_secret", SECRET),
    ];
    let none: Vec<(&str, &str)> = Vec::new();
    let refused = |flags: &[(&str, &str)]| {
        let settings = load(&Flags::given(flags), &none, 1).unwrap().settings;
        check::servable(&settings).unwrap_err().to_string()
    };
    for key in [
        ("auth_secret", SECRET),
        ("auth_keys", "keys.pem"),
        ("auth_jwks_url", "https://id.example/"),
        ("auth_signing_key", "key.pem"),
    ] {
        let told = refused(&[&hook[..], &[key]].concat());
        assert!(
            told.contains("either tokens decide or the application"),
            "{told}"
        );
    }
    for half in hook {
        assert!(refused(&[half]).contains("belong together"));
    }
    for name in ["auth_audience", "auth_issuer"] {
        assert!(refused(&[(name, "x")]).contains("no key is set"));
    }
}
