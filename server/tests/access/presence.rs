//! Presence that shows identities, over the sockets of two dialects.

use crate::client::Client;
use crate::server::Server;

const OF_ADA: &str = r#"{"verified":{"sub":"ada"},"name":"Ada"}"#;
const GONE: &str = "null";

type Join = fn(&Server, &str, &str) -> Client;

/// In the document by the y-websocket door.
fn plain(server: &Server, document: &str, token: &str) -> Client {
    let mut client = Client::plain(server.address, document, Some(token));
    client.say(&[0, 0, 1, 0]);
    client.until("step 2", |message| message.starts_with(&[0, 1]));
    client
}

/// In the document by the Hocuspocus door.
fn provider(server: &Server, document: &str, token: &str) -> Client {
    let mut client = Client::hocuspocus(server.address, document);
    client.show(token);
    client.until_told("read-write");
    client.say(&[0, 0, 1, 0]);
    client.until("step 2", |message| message.starts_with(&[0, 1]));
    client
}

#[test]
fn the_server_says_who_it_is_whatever_clients_of_two_dialects_write() {
    let server = Server::showing_identities("verified");
    let tokens = ["ada", "ben"].map(|subject| server.token(subject, subject));
    let (plain, provider): (Join, Join) = (plain, provider);
    for (document, first, second) in [("a", plain, provider), ("b", provider, plain)] {
        let mut ada = first(&server, document, &tokens[0]);
        let mut ben = second(&server, document, &tokens[1]);
        ada.present(
            11,
            1,
            r#"{"name":"Ada","\u0076erified":{"sub":"ben"},"verified":1}"#,
        );
        ben.until_told(OF_ADA);
        // Who calls himself Ada is Ben.
        ben.present(12, 1, r#"{"verified":{"sub":"ada"},"name":"Ada"}"#);
        ada.until_told(r#"{"verified":{"sub":"ben"},"name":"Ada"}"#);
        // Nor can he speak for her, or have her gone; what she is, he is told again.
        ben.present(11, 9, r#"{"name":"Eve"}"#);
        ben.present(11, 10, GONE);
        ben.until_told(OF_ADA);
        ben.present(12, 2, "2");
        let told = ada.until("presence", |message| message.starts_with(&[1]));
        assert_eq!(told[2..], [1, 12, 2, 1, b'2'], "nothing of her own");
        let mut late = second(&server, document, &tokens[1]);
        late.present(13, 1, "{}");
        ada.until_told("{\"verified\":{\"sub\":\"ben\"}}");
        ada.present(11, 2, GONE);
        late.until("her goodbye", |message| {
            message.ends_with(&[1, 11, 2, 4, b'n', b'u', b'l', b'l'])
        });
    }
    assert!(server.counts("driftless_refused_total{reason=\"presence_of_others\"} 4"));
}

#[test]
fn a_session_stays_who_it_is() {
    let server = Server::showing_identities("verified");
    let [ada, ben] = ["ada", "ben"].map(|subject| server.token(subject, subject));
    let mut watcher = plain(&server, "plan", &ben);
    let mut client = provider(&server, "plan", &ada);
    client.present(11, 1, r#"{"name":"Ada"}"#);
    watcher.until_told(OF_ADA);
    client.show(&server.token("ada", "newer"));
    client.present(11, 2, r#"{"name":"Ada"}"#);
    watcher.until("a new entry", |message| {
        message.starts_with(&[1]) && message[4] == 2
    });
    // A token of somebody else ends the session, and with it what it showed.
    client.show(&ben);
    client.until_told("permission-denied");
    watcher.until("the end of it", |message| {
        message.ends_with(&[11, 2, 4, b'n', b'u', b'l', b'l'])
    });
}

#[test]
fn without_authentication_there_is_nobody_to_show() {
    let mut command = crate::server::driftless(&["serve", "--listen", "127.0.0.1:0"]);
    let folder = tempfile::tempdir().unwrap();
    command.arg("--data").arg(folder.path());
    command.args(["--presence-identity-field", "verified"]);
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && told.contains("auth_keys"),
        "{told}"
    );
}
