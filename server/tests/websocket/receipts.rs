//! What the Hocuspocus door answers to deletions that come before anything was heard of it: whether they
//! waited for the connection is in no byte of theirs.

use yrs::updates::encoder::Encode;
use yrs::{Doc, ReadTxn, Text, Transact};

use crate::hocuspocus::start;
use crate::peer::{BINARY, PING, PONG, ServerFrame, masked};
use crate::provider::{Application, Provider, RECEIPT, Say, authenticated, counted};

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
