//! What the Hocuspocus door owes for what comes while a connection begins: whether it waited for that is in
//! no byte of it.

use yrs::updates::encoder::Encode;
use yrs::{Doc, ReadTxn, Text, Transact};

use crate::hocuspocus::start;
use crate::peer::{BINARY, PATIENCE, PING, PONG, ServerFrame, masked};
use crate::provider::{Application, Provider, RECEIPT, Say, authenticated, counted, metrics};

/// A document as an update, the step 1 of who has it, and a deletion of a part of it.
fn older_text() -> [Vec<u8>; 3] {
    let doc = Doc::new();
    let root = doc.get_or_insert_text("t");
    let mut transaction = doc.transact_mut();
    root.insert(&mut transaction, 0, "older");
    let older = transaction.encode_update_v1();
    drop(transaction);
    let vector = doc.transact().state_vector().encode_v1();
    let mut transaction = doc.transact_mut();
    root.remove_range(&mut transaction, 0, 1);
    let deletion = transaction.encode_update_v1();
    [older, [vec![0, 0], counted(&vector)].concat(), deletion]
}

/// Answers the server's question; how many receipts come, of at least so many.
async fn receipts(provider: &mut Provider, document: &str, least: usize) -> usize {
    // As providers do, whose WebSocket answers each ping; without the first one it is not looked at.
    provider.peer.send(&masked(PONG, b"heard")).await;
    provider.say(document, Say::Step2).await;
    for _ in 0..least {
        provider.until(document, RECEIPT).await;
    }
    let behind = provider.until_pong().await;
    least + behind.iter().filter(|said| said.ends_with(RECEIPT)).count()
}

#[tokio::test]
async fn what_is_deleted_before_anything_was_heard_is_counted_by_the_pong() {
    let application = Application::start().await;
    let server = start(&application, &[]);
    let [older, step1, deletion] = older_text();
    for (document, is_held, answers) in [
        ("now", false, true),
        ("later", true, true),
        ("not", false, false),
    ] {
        let mut first = Provider::connect(server.address).await;
        first.open(document, "write").await;
        first.say(document, Say::Update(&older)).await;
        first.until(document, RECEIPT).await;
        application.hold(is_held);
        let mut provider = Provider::connect(server.address).await;
        provider.say(document, Say::Token("write")).await;
        provider.say(document, Say::Raw(&step1)).await;
        provider.say(document, Say::Update(&deletion)).await;
        if is_held {
            // It hears something before there is an answer about its token.
            provider.peer.send(&masked(BINARY, &[9])).await;
        }
        let ping = ServerFrame(PING, b"first".to_vec());
        assert_eq!(provider.peer.frame().await, ping, "{document}");
        if answers {
            provider.peer.send(&masked(PONG, b"first")).await;
        }
        application.hold(false);
        let wanted = 1 + usize::from(answers);
        assert_eq!(receipts(&mut provider, document, wanted).await, wanted);
    }
}

#[tokio::test]
async fn what_is_deleted_at_once_in_a_document_that_is_opened_later_is_counted() {
    let application = Application::start().await;
    let server = start(&application, &[]);
    let [older, step1, deletion] = older_text();
    let mut provider = Provider::connect(server.address).await;
    provider.open("first", "write").await;
    let mut other = Provider::connect(server.address).await;
    other.open("second", "write").await;
    other.say("second", Say::Update(&older)).await;
    other.until("second", RECEIPT).await;
    provider.say("second", Say::Token("write")).await;
    provider.say("second", Say::Raw(&step1)).await;
    provider.say("second", Say::Update(&deletion)).await;
    provider.until("second", &authenticated("read-write")).await;
    assert_eq!(receipts(&mut provider, "second", 2).await, 2);
}

#[tokio::test]
async fn nothing_is_owed_before_the_step_1() {
    let application = Application::start().await;
    let server = start(&application, &[]);
    let [older, step1, _] = older_text();
    let mut provider = Provider::connect(server.address).await;
    provider.say("early", Say::Token("write")).await;
    provider.say("early", Say::Update(&older)).await;
    provider.until("early", &authenticated("read-write")).await;
    provider.say("early", Say::Raw(&step1)).await;
    assert_eq!(receipts(&mut provider, "early", 1).await, 1, "the answer");
}

#[tokio::test]
async fn an_answer_that_waited_for_the_connection_is_none() {
    let application = Application::start().await;
    let server = start(&application, &[]);
    let [older, step1, _] = older_text();
    let mut provider = Provider::connect(server.address).await;
    provider.say("leftover", Say::Token("write")).await;
    provider.say("leftover", Say::Raw(&step1)).await;
    provider
        .until("leftover", &authenticated("read-write"))
        .await;
    provider.peer.send(&masked(PONG, b"first")).await;
    let leftover = [&[0, 1][..], &counted(&older)].concat();
    provider.say("leftover", Say::Raw(&leftover)).await;
    let said = provider.until_pong().await;
    assert!(!said.iter().any(|said| said.ends_with(RECEIPT)));
    assert_eq!(receipts(&mut provider, "leftover", 1).await, 1);
    // What it brought is there.
    let mut other = Provider::connect(server.address).await;
    other.say("leftover", Say::Token("read")).await;
    other.say("leftover", Say::Step1).await;
    let state = [&[0, 1][..], &counted(&older)].concat();
    other.until("leftover", &state).await;
}

#[tokio::test]
async fn a_document_that_was_closed_before_it_was_opened_stays_open() {
    let application = Application::start().await;
    let server = start(&application, &[]);
    let [older, ..] = older_text();
    for comes_back in [false, true] {
        let document = format!("closed-{comes_back}");
        let mut provider = Provider::connect(server.address).await;
        provider.say(&document, Say::Token("write")).await;
        provider.say(&document, Say::Step1).await;
        let opened = authenticated("read-write");
        provider.until(&document, &opened).await;
        provider.peer.send(&masked(PONG, b"first")).await;
        provider.say(&document, Say::Close).await;
        if comes_back {
            // It has left since, and opens the document anew.
            provider.say(&document, Say::Token("write")).await;
            provider.until(&document, &opened).await;
            provider.say(&document, Say::Step1).await;
        }
        provider.say(&document, Say::Update(&older)).await;
        let count = receipts(&mut provider, &document, 2).await;
        assert_eq!(count, 2, "the update and the answer");
        // Behind an answer it leaves at once.
        provider.say(&document, Say::Close).await;
        provider.say(&document, Say::Token("write")).await;
        provider.until(&document, &opened).await;
    }
}

#[tokio::test]
async fn a_document_that_was_closed_for_good_meanwhile_leaves_after_a_while() {
    let application = Application::start().await;
    let server = start(&application, &[]);
    let mut provider = Provider::connect(server.address).await;
    let opened = authenticated("read-write");
    for document in ["stays", "leaves"] {
        provider.say(document, Say::Token("write")).await;
        provider.say(document, Say::Step1).await;
        provider.until(document, &opened).await;
    }
    provider.peer.send(&masked(PONG, b"first")).await;
    provider.say("leaves", Say::Close).await;
    assert_eq!(receipts(&mut provider, "stays", 1).await, 1);
    let begun = std::time::Instant::now();
    while !metrics(server.address)
        .await
        .contains("\ndriftless_sessions 1\n")
    {
        assert!(begun.elapsed() < PATIENCE, "it never leaves");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn pings_stand_around_the_first_message_whoever_says_it() {
    let application = Application::start().await;
    let server = start(
        &application,
        &["--keepalive-ms=4s", "--auth-hook-cache-ms=0"],
    );
    let ping = |payload: &[u8]| ServerFrame(PING, payload.to_vec());
    // The ping of version 4, and presence of nobody in a document without a name.
    let (modern, old) = (vec![9], vec![0, 1, 1, 0]);
    for (token, alive) in [(Say::Token("write"), modern), (Say::OldToken("write"), old)] {
        application.hold(true);
        let mut provider = Provider::connect(server.address).await;
        // No document has anything to say yet.
        provider.say("a", token).await;
        let heard = [
            provider.peer.frame().await,
            provider.peer.frame().await,
            provider.peer.frame().await,
        ];
        let first = ServerFrame(BINARY, alive);
        assert_eq!(heard, [ping(b"first"), first, ping(b"heard")]);
        application.hold(false);
        provider.until("a", &authenticated("read-write")).await;
    }
}
