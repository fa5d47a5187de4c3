//! What is told of documents, by the doors for providers, to who has no right to them.

use crate::binary::Binary;
use crate::hocuspocus::{is_update, letters, presence, start};
use crate::peer::{BINARY, Peer, masked};
use crate::provider::{Application, Provider, RECEIPT, Say, denied};

/// All that a peer hears about a document that it has no right to, with the document's name taken out:
/// before the answer about its token, and behind it.
async fn answers_without_right(
    server: &Binary,
    application: &Application,
    document: &str,
    token: &str,
) -> Vec<Vec<u8>> {
    let mut provider = Provider::connect(server.address).await;
    let mut heard = Vec::new();
    for is_held in [true, false] {
        application.hold(is_held);
        provider.say(document, Say::Token(token)).await;
        if !is_held {
            heard.push(provider.hear().await.1);
        }
        let entries = presence(7);
        for say in [
            Say::Step1,
            Say::Presence(&entries),
            Say::QueryPresence,
            Say::Stateless("anybody there?"),
            Say::Update(&letters(1)[0]),
            Say::Step2,
            Say::Close,
        ] {
            provider.say(document, say).await;
        }
        heard.extend(provider.until_pong().await);
        application.hold(false);
        provider.say(document, Say::Token(token)).await;
        heard.push(provider.hear().await.1);
    }
    for frame in &mut heard {
        assert!(frame.len() < 64, "{frame:?}");
        let text = String::from_utf8_lossy(frame).replace(document, "NAME");
        *frame = text.into_bytes();
    }
    heard
}

#[tokio::test]
async fn without_a_right_a_document_that_exists_looks_like_one_that_does_not() {
    let application = Application::start().await;
    let server = start(&application, &[]);
    let mut inside = Provider::connect(server.address).await;
    inside.open("exists", "write").await;
    for letter in letters(100) {
        inside.say("exists", Say::Update(&letter)).await;
    }
    inside.say("exists", Say::Presence(&presence(1))).await;
    for _ in 0..100 {
        inside.until("exists", RECEIPT).await;
    }
    for token in ["none", ""] {
        let known = answers_without_right(&server, &application, "exists", token).await;
        let unknown = answers_without_right(&server, &application, "absent", token).await;
        assert_eq!(known, unknown, "token {token:?}");
        assert!(!known.is_empty());
    }
    // Nor does who is inside hear of them.
    assert!(
        !inside
            .until_pong()
            .await
            .iter()
            .any(|said| is_update(&said[7..]))
    );
    for token in ["?token=none", ""] {
        let mut told = Vec::new();
        for document in ["exists", "absent"] {
            let mut peer = Peer::join(server.address, &format!("/ws/{document}{token}")).await;
            peer.send(&masked(BINARY, &[0, 0, 1, 0])).await;
            let request = format!(
                "GET /d/{document}/as-update{token} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            );
            let answer = crate::peer::answer(server.address, &request).await;
            let lines = answer.lines().filter(|line| !line.starts_with("date: "));
            told.push((peer.farewell().await, lines.collect::<String>()));
        }
        assert_eq!(told[0], told[1]);
    }
}

#[tokio::test]
async fn documents_that_were_denied_take_no_room_of_others() {
    let application = Application::start().await;
    let server = start(&application, &["--documents-per-connection-max=3"]);
    let mut provider = Provider::connect(server.address).await;
    provider.open("a", "write").await;
    for number in 0..8 {
        let document = format!("denied-{number}");
        provider.say(&document, Say::Token("none")).await;
        provider
            .until(&document, &denied("permission-denied"))
            .await;
    }
    provider.open("b", "write").await;
    // One that made room for another may be tried again.
    provider.open("denied-0", "write").await;
    provider.say("c", Say::Token("write")).await;
    assert_eq!(provider.until_closed().await.0, 4205);
}
