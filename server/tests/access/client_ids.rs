//! Client ids that belong to who wrote under them first: at every door, over HTTP, after a kill.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::client::{Client, letter, letter_at};
use crate::server::Server;

/// What a refused writer reads at the doors that have words for it.
const REFUSED: &str = "only who made them may bring them";

/// How a Hocuspocus provider hears that an update was not taken.
const NOT_TAKEN: [u8; 2] = [8, 0];

/// Opens document `plan` at a door, by the path in front of the token.
fn plain(server: &Server, path: &str, token: &str) -> Client {
    let mut client = Client::connect(server.address, &format!("{path}?token={token}"));
    client.say(&[0, 0, 1, 0]);
    client.until("step 2", |message| message.starts_with(&[0, 1]));
    client
}

fn provider(server: &Server, token: &str) -> Client {
    let mut client = Client::hocuspocus(server.address, "plan");
    client.show(token);
    client.until_told("read-write");
    client.say(&[0, 0, 1, 0]);
    client.until("step 2", |message| message.starts_with(&[0, 1]));
    client
}

/// Says an update of a few bytes.
fn say_update(client: &mut Client, update: &[u8]) {
    client.say(&[&[0, 2, update.len() as u8], update].concat());
}

/// Writes over HTTP; the status line and the body.
fn post(server: &Server, token: &str, update: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).unwrap();
    let head = format!(
        "POST /d/plan/update HTTP/1.0\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
        update.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(update).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Mallory tries at every door to go on under an id of Ada.
fn is_refused_at_every_door(server: &Server, clock: u8) {
    let before = server.text("plan");
    let mallory = server.token("mallory", "t-mallory");
    let forged = letter_at(1, clock, '!');
    for path in ["/ws/plan", "/d/plan/ws/plan"] {
        let mut client = plain(server, path, &mallory);
        say_update(&mut client, &forged);
        client.until_told(REFUSED);
        // The session goes on; it may write as itself, and nothing of the other is kept.
        client.say(&[0, 0, 1, 0]);
        client.until("step 2", |message| message.starts_with(&[0, 1]));
    }
    let mut client = provider(server, &mallory);
    say_update(&mut client, &forged);
    client.until("the refusal", |message| message == NOT_TAKEN);
    client.write(&[0, 0]);
    let answer = post(server, &mallory, &forged);
    assert!(!answer.starts_with("HTTP/1.0 200"), "{answer}");
    assert!(answer.contains(REFUSED), "{answer}");
    assert_eq!(server.text("plan"), before);
}

#[test]
fn nobody_writes_under_an_id_of_somebody_else() {
    let server = Server::with_bound_ids();
    let ada = server.token("ada", "t-ada");
    let mut hers = plain(&server, "/ws/plan", &ada);
    hers.write(&letter(1, 'a'));
    let mut bens = provider(&server, &server.token("ben", "t-ben"));
    bens.write(&letter(2, 'b'));
    is_refused_at_every_door(&server, 1);
    let line = "driftless_refused_total{reason=\"client_id_of_another\"} 4";
    assert!(server.counts(line), "{}", server.get("/metrics"));
    hers.write(&letter_at(1, 1, 'c'));

    let server = server.killed_and_started();
    is_refused_at_every_door(&server, 2);
    // She comes back through another door, and is who she was.
    let mut hers = provider(&server, &ada);
    hers.write(&letter_at(1, 2, 'd'));
    assert!(post(&server, &ada, &letter_at(1, 3, 'e')).starts_with("HTTP/1.0 200"));
    // Without a name one is nobody, and not Ada either.
    let nobody = server.token_for("*=write", &[]);
    let mut client = plain(&server, "/ws/plan", &nobody);
    say_update(&mut client, &letter_at(1, 4, '!'));
    client.until_told(REFUSED);
    let text = server.text("plan");
    assert!(
        text.chars().all(|letter| "abcde\n".contains(letter)),
        "{text}"
    );
    assert!(
        "abcde".chars().all(|letter| text.contains(letter)),
        "{text}"
    );
}

#[test]
fn who_may_relay_and_who_operates_may_write_under_any_id() {
    let server = Server::with_bound_ids();
    let mut hers = plain(&server, "/ws/plan", &server.token("ada", "t-ada"));
    hers.write(&letter(1, 'a'));
    let bridge = server.token_for("*=write", &["--sub", "bridge", "--relay"]);
    let mut bridged = plain(&server, "/ws/plan", &bridge);
    bridged.write(&letter_at(1, 1, 'b'));
    let backend = server.token_for("*=admin", &["--sub", "backend"]);
    let mut operated = provider(&server, &backend);
    operated.write(&letter_at(1, 2, 'c'));
    assert_eq!(server.right("bridge"), "relay");
    // Ben's edit comes by the bridge before he does.
    bridged.write(&letter(2, 'd'));
    let mut bens = plain(&server, "/ws/plan", &server.token("ben", "t-ben"));
    bens.write(&letter_at(2, 1, 'e'));
    let text = server.text("plan");
    assert!(
        "abcde".chars().all(|letter| text.contains(letter)),
        "{text}"
    );

    // What is left to read leaves nothing of the right to relay.
    server.restrict(&["--subject", "bridge", "--to", "read"]);
    bridged.until_told("no longer change it");
    bridged.write(&letter_at(1, 3, '!'));
    assert!(!server.text("plan").contains('!'));
    server.restrict(&["--subject", "backend", "--to", "comment"]);
    operated.until_told("readonly");
    operated.write(&letter_at(1, 3, '!'));
    assert!(!server.text("plan").contains('!'));
}
