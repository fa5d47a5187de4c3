//! The bounds of the Hocuspocus door, and what it does with documents side by side on one socket, by
//! the bytes of a provider that is not always polite.

use bytes::Bytes;
use driftless_proto::admission::{PresenceEntry, encode_entries};
use yrs::{Doc, Text, Transact};

use crate::binary::Binary;
use crate::limits::is_refused;
use crate::peer::{BINARY, Peer, masked};
use crate::provider::{
    Application, Provider, RECEIPT, Say, authenticated, counted, denied, is_paused, metrics,
};

/// A server that asks the application, and what else it is told.
pub(crate) fn start(application: &Application, flags: &[&str]) -> Binary {
    let url = format!("--auth-hook-url={}", application.url);
    let secret = "--auth-hook-secret=a secret that is thirty-two bytes or longer";
    let common = [&*url, secret, "--auth-hook-timeout-ms=1m"];
    Binary::start(&[&common, flags].concat())
}

/// Updates that build on each other, each a letter more.
pub(crate) fn letters(count: usize) -> Vec<Vec<u8>> {
    let doc = Doc::new();
    let root = doc.get_or_insert_text("t");
    let letter = |at: usize| {
        let mut transaction = doc.transact_mut();
        root.insert(&mut transaction, at as u32, "x");
        transaction.encode_update_v1()
    };
    (0..count).map(letter).collect()
}

pub(crate) fn presence(client: u64) -> Bytes {
    let entry = PresenceEntry {
        client,
        clock: 1,
        state: Some("{\"name\":\"someone\"}"),
    };
    encode_entries([entry].into_iter())
}

pub(crate) fn is_update(said: &[u8]) -> bool {
    said.starts_with(&[0, 2]) || said.starts_with(&[0, 1])
}

async fn counts(server: &Binary, line: &str) {
    let all = metrics(server.address).await;
    assert!(all.lines().any(|found| found == line), "{line}: {all}");
}

#[tokio::test]
async fn who_says_too_much_before_a_token_is_sent_away() {
    let application = Application::start().await;
    let server = start(&application, &["--unauthenticated-bytes-max=64KiB"]);
    application.hold(true);
    for token in [None, Some("write")] {
        let mut provider = Provider::connect(server.address).await;
        if let Some(token) = token {
            provider.say("a", Say::Token(token)).await;
        }
        for round in 0..4 {
            // Over all documents of the connection.
            let document = format!("doc-{round}");
            provider.say(&document, Say::Update(&[0; 20_000])).await;
        }
        let (code, text) = provider.until_closed().await;
        assert_eq!(code, 4205);
        assert!(text.contains("unauthenticated_bytes_max"), "{text}");
    }
    // What fits waits for its answer.
    let mut provider = Provider::connect(server.address).await;
    provider.say("a", Say::Update(&letters(1)[0])).await;
    provider.say("a", Say::Token("write")).await;
    application.hold(false);
    provider.until("a", &authenticated("read-write")).await;
    counts(
        &server,
        "driftless_refused_total{reason=\"unauthenticated_bytes\"} 2",
    )
    .await;
}

#[tokio::test]
async fn one_document_too_many_ends_the_connection_and_loses_nothing_of_the_others() {
    let application = Application::start().await;
    let server = start(&application, &["--documents-per-connection-max=2"]);
    let mut provider = Provider::connect(server.address).await;
    provider.open("a", "write").await;
    provider.open("b", "write").await;
    // Whoever closes one has room for another.
    provider.say("b", Say::Close).await;
    provider.open("c", "write").await;
    let letter = letters(1).remove(0);
    provider.say("a", Say::Update(&letter)).await;
    provider.say("d", Say::Token("write")).await;
    let (code, text) = provider.until_closed().await;
    assert_eq!(code, 4205);
    assert!(text.contains("documents_per_connection_max"), "{text}");
    counts(
        &server,
        "driftless_refused_total{reason=\"documents_per_connection\"} 1",
    )
    .await;
    let mut again = Provider::connect(server.address).await;
    again.say("a", Say::Token("write")).await;
    again.say("a", Say::Step1).await;
    let state = [&[0, 1][..], &counted(&letter)].concat();
    again.until("a", &state).await;
}

#[tokio::test]
async fn who_opens_nothing_in_time_is_sent_away_and_who_opened_something_is_not() {
    let application = Application::start().await;
    let server = start(&application, &["--unauthenticated-timeout-ms=4s"]);
    let mut open = Provider::connect(server.address).await;
    open.open("a", "write").await;
    open.say("b", Say::Step1).await;
    let mut silent = Provider::connect(server.address).await;
    let mut loud = Provider::connect(server.address).await;
    loud.say("a", Say::Step1).await;
    let mut refused = Provider::connect(server.address).await;
    refused.say("a", Say::Token("none")).await;
    for provider in [&mut silent, &mut loud, &mut refused] {
        assert_eq!(provider.until_closed().await.0, 4408);
    }
    // Of a document without a token only the document is refused.
    open.until("b", &denied("permission-denied")).await;
    open.say("a", Say::Update(&letters(1)[0])).await;
    open.until("a", RECEIPT).await;
    open.say("b", Say::Token("write")).await;
    open.until("b", &authenticated("read-write")).await;
    counts(
        &server,
        "driftless_refused_total{reason=\"unauthenticated_timeout\"} 3",
    )
    .await;
}

#[tokio::test]
async fn what_comes_before_the_answer_is_handled_in_order_once_it_is_a_yes() {
    let application = Application::start().await;
    let server = start(&application, &[]);
    application.hold(true);
    let mut provider = Provider::connect(server.address).await;
    provider.say("a", Say::Token("write")).await;
    provider.say("a", Say::Step1).await;
    for letter in letters(50) {
        provider.say("a", Say::Update(&letter)).await;
    }
    provider.say("a", Say::Stateless("last")).await;
    application.until_asked(1).await;
    assert!(provider.until_pong().await.is_empty(), "nothing leaks out");
    application.hold(false);
    let mut receipts = 0;
    let mut kinds = Vec::new();
    while receipts < 50 {
        let (_, said) = provider.hear().await;
        match &said[..] {
            RECEIPT => receipts += 1,
            other => kinds.push(other[..2].to_vec()),
        }
    }
    // One question: had anything come out of order, there would be a second one.
    assert_eq!(kinds, [[2, 2], [0, 0], [0, 1]]);
}

#[tokio::test]
async fn what_comes_before_a_no_is_thrown_away() {
    let application = Application::start().await;
    let server = start(&application, &[]);
    application.hold(true);
    let mut provider = Provider::connect(server.address).await;
    let updates = letters(3);
    provider.say("a", Say::Update(&updates[0])).await;
    provider.say("a", Say::Token("none")).await;
    provider.say("a", Say::Update(&updates[1])).await;
    // All of it is read: what is read behind the refusal belongs to the next attempt.
    provider.until_pong().await;
    application.hold(false);
    provider.until("a", &denied("permission-denied")).await;
    // A later token opens the document, without what was refused.
    provider.open("a", "write").await;
    let mut other = Provider::connect(server.address).await;
    other.say("a", Say::Token("write")).await;
    other.say("a", Say::Step1).await;
    other.until("a", &[0, 1, 2, 0, 0]).await;
}

#[tokio::test]
async fn more_questions_than_may_be_under_way_wait_in_front_of_the_server_and_none_is_lost() {
    const TOKENS: usize = 200;
    let application = Application::start().await;
    let server = start(&application, &[]);
    application.hold(true);
    let mut provider = Provider::connect(server.address).await;
    for at in 0..TOKENS {
        provider
            .say(&format!("doc-{at}"), Say::Token("write"))
            .await;
        provider.say(&format!("doc-{at}"), Say::Step1).await;
    }
    application.until_asked(64).await;
    assert!(is_paused(&mut provider.peer).await);
    assert_eq!(application.asked(), 64);
    let mut other = Peer::join(server.address, "/hocuspocus").await;
    assert_eq!(
        is_refused(&mut other).await,
        None,
        "another connection is read"
    );
    application.hold(false);
    let (mut opened, mut answered) = (Vec::new(), Vec::new());
    while opened.len() < TOKENS || answered.len() < TOKENS {
        let (address, said) = provider.hear().await;
        match () {
            () if said == authenticated("read-write") => opened.push(address),
            () if said == [0, 1, 2, 0, 0] => answered.push(address),
            () => {}
        }
    }
    for each in [&mut opened, &mut answered] {
        each.sort();
        each.dedup();
        assert_eq!(each.len(), TOKENS);
    }
}

#[tokio::test]
async fn one_document_twice_over_one_socket_is_two_sessions_that_hear_each_other() {
    let application = Application::start().await;
    let server = start(&application, &[]);
    let mut provider = Provider::connect(server.address).await;
    let (one, two) = ("a\0first", "a\0second");
    provider.open(one, "write").await;
    provider.open(two, "write").await;
    provider.open("a", "write").await;
    let letter = letters(1).remove(0);
    let update = [&[0, 2][..], &counted(&letter)].concat();
    provider.say(one, Say::Update(&letter)).await;
    let mut heard = Vec::new();
    while heard.len() < 3 {
        let (address, said) = provider.hear().await;
        if said == update || said == RECEIPT {
            heard.push((address, said));
        }
    }
    heard.sort();
    let wanted = [("a", &*update), (one, RECEIPT), (two, &*update)];
    let wanted = wanted.map(|(address, said)| (address.to_owned(), said.to_vec()));
    assert_eq!(heard, wanted);
    provider.say(one, Say::Close).await;
    provider.say(two, Say::Update(&letter)).await;
    provider.until(two, RECEIPT).await;
    let long = format!("a\0{}", "s".repeat(129));
    provider.say(&long, Say::Token("write")).await;
    let payload = loop {
        let frame = provider.peer.frame().await;
        if frame.1.len() > 128 {
            break frame.1;
        }
    };
    let told = String::from_utf8_lossy(&payload).into_owned();
    assert!(told.contains("session id at most 128"), "{told}");
}

#[tokio::test]
async fn of_two_tokens_the_later_one_counts() {
    let application = Application::start().await;
    let server = start(&application, &["--auth-hook-cache-ms=0"]);
    application.hold(true);
    let mut provider = Provider::connect(server.address).await;
    provider.say("a", Say::Token("none")).await;
    provider.say("a", Say::Token("write")).await;
    provider.say("a", Say::Step1).await;
    // One question at a time: the later token waits, and makes the answer to the earlier one void.
    application.until_asked(1).await;
    provider.until_pong().await;
    application.hold(false);
    let (_, first) = provider.hear().await;
    assert_eq!(first, authenticated("read-write"));
    provider.say("a", Say::Step2).await;
    provider.until("a", RECEIPT).await;
    // A token for less takes effect, one for nothing ends the document.
    provider.say("a", Say::Token("read")).await;
    provider.until("a", &authenticated("readonly")).await;
    provider.say("a", Say::Token("none")).await;
    provider.until("a", &denied("permission-denied")).await;
    provider.open("a", "write").await;
    // Somebody else needs a session of their own: their changes are not Ada's.
    provider.say("a", Say::Token("ben")).await;
    provider.until("a", &denied("permission-denied")).await;
}

#[tokio::test]
async fn what_happens_to_one_document_does_not_touch_another() {
    let application = Application::start().await;
    let server = start(&application, &[]);
    let mut provider = Provider::connect(server.address).await;
    provider.open("a", "write").await;
    provider.say("b", Say::Token("none")).await;
    provider.until("b", &denied("permission-denied")).await;
    provider.open("c", "write").await;
    let updates = letters(3);
    for (round, letter) in updates.iter().enumerate() {
        provider.say("a", Say::Update(letter)).await;
        provider.until("a", RECEIPT).await;
        match round {
            0 => provider.say("c", Say::Close).await,
            _ => provider.say("b", Say::Token("none")).await,
        }
    }
    // Closed is closed: what is said about it waits for a token.
    provider.say("c", Say::Update(&updates[0])).await;
    provider.say("never seen", Say::Close).await;
    let said = provider.until_pong().await;
    assert!(
        !said.iter().any(|frame| frame.starts_with(b"\x01c")),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_token_that_is_too_large_is_refused_and_the_rest_stays() {
    let application = Application::start().await;
    let server = start(&application, &["--unauthenticated-bytes-max=64KiB"]);
    let huge = "x".repeat(1 << 20);
    let mut stranger = Provider::connect(server.address).await;
    let frame = [counted(b"a"), vec![2, 0], counted(huge.as_bytes())].concat();
    // Nobody reads all of it.
    let _ = tokio::io::AsyncWriteExt::write_all(&mut stranger.peer.stream, &masked(BINARY, &frame))
        .await;
    assert_eq!(stranger.until_closed().await.0, 1009);
    let mut provider = Provider::connect(server.address).await;
    provider.say("b", Say::Token(&"x".repeat(20 << 10))).await;
    provider.until("b", &denied("token-too-large")).await;
    provider.open("a", "write").await;
    provider.say("b", Say::Token(&huge)).await;
    provider.until("b", &denied("token-too-large")).await;
    provider.say("a", Say::Update(&letters(1)[0])).await;
    provider.until("a", RECEIPT).await;
    let asked = application.asked();
    assert_eq!(asked, 1, "nobody is asked about what is too large");
    counts(
        &server,
        "driftless_auth_decisions_total{outcome=\"token_too_large\",door=\"hocuspocus\"} 2",
    )
    .await;
}

#[tokio::test]
async fn what_is_no_message_ends_the_connection_and_names_nothing() {
    let application = Application::start().await;
    let server = start(&application, &[]);
    let unknown = [counted(b"a"), vec![99, 1]].concat();
    let hostile: [&[u8]; 8] = [
        b"",
        &[0],
        &[5, b'a'],
        &[1, 0xff, 0],
        &[
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ],
        &[1, b'a'],
        &[1, b'a', 0, 2, 0xff, 0xff, 0xff, 0xff, 0x0f, 1],
        &unknown,
    ];
    for bytes in hostile {
        let mut provider = Provider::connect(server.address).await;
        provider.open("a", "write").await;
        provider.peer.send(&masked(BINARY, bytes)).await;
        let (code, _) = provider.until_closed().await;
        assert_eq!(code, 4205, "{bytes:?}");
    }
    // An address that names nothing is refused by itself.
    let mut provider = Provider::connect(server.address).await;
    provider.open("a", "write").await;
    provider.say("", Say::Token("write")).await;
    provider.say("", Say::Raw(&[3])).await;
    let (address, said) = provider.hear().await;
    assert_eq!((&*address, &said[..2]), ("", &[2, 1][..]));
    provider.say("a", Say::Update(&letters(1)[0])).await;
    provider.until("a", RECEIPT).await;
}

#[tokio::test]
async fn who_finds_a_full_document_is_never_told_to_be_in() {
    let application = Application::start().await;
    let server = start(&application, &["--sessions-per-document-max=1"]);
    let mut first = Provider::connect(server.address).await;
    first.open("a", "write").await;
    let mut second = Provider::connect(server.address).await;
    second.say("a", Say::Token("write")).await;
    assert_eq!(
        second.hear().await,
        ("a".to_owned(), denied("document-full"))
    );
    first.say("a", Say::Close).await;
    first.until_pong().await;
    second.open("a", "write").await;
}
