//! One node: what a restriction, its end and an operator's other commands do to live sessions of two
//! dialects, and to those who come back.

use crate::client::{Client, letter};
use crate::hook::Application;
use crate::server::{Server, json, on};

const DENIED: &str = "permission-denied";

/// Waits until a plain client is in the document.
pub(crate) fn joined(server: &Server, document: &str, token: &str) -> Client {
    let mut client = Client::plain(server.address, document, Some(token));
    client.say(&[0, 0, 1, 0]);
    client.until("step 2", |message| message.starts_with(&[0, 1]));
    client
}

/// Opens a document at the Hocuspocus door.
pub(crate) fn opened(server: &Server, document: &str, token: &str) -> Client {
    let mut client = Client::hocuspocus(server.address, document);
    client.show(token);
    client.until_told("read-write");
    client
}

#[test]
fn a_plain_session_is_lowered_raised_and_ended_and_cannot_come_back() {
    let server = Server::with_tokens();
    let (ada, ben) = (server.token("ada", "t-ada"), server.token("ben", "t-ben"));
    let mut ada_in = joined(&server, "plan", &ada);
    let mut ben_in = joined(&server, "plan", &ben);
    ada_in.write(&letter(1, 'a'));

    let id = server.restrict(&["--subject", "ada", "--to", "read", "--reason", "why"]);
    ada_in.until_told("no longer change it");
    assert_eq!(server.right("ada"), "read");
    assert_eq!(server.right("ben"), "write");
    ada_in.write(&letter(2, 'b'));
    ben_in.write(&letter(3, 'c'));
    let text = server.text("plan");
    assert!(!text.contains('b') && text.contains('c'), "{text}");

    let listed = server.run(&["access", "list"]);
    assert_eq!(listed[0]["id"], id.as_str());
    assert_eq!(listed[0]["on"]["subject"], "ada");
    assert_eq!(listed[0]["reason"], "why");
    assert_eq!(server.run(&["access", "lift", &id])["sessions"], 1);
    assert_eq!(server.run(&["access", "list"]), serde_json::json!([]));
    server.until_right("ada", "write");
    ada_in.write(&letter(4, 'd'));
    assert!(server.text("plan").contains('d'));

    let id = server.restrict(&["--token-id", "t-ada", "--document", "pl*", "--to", "none"]);
    assert_eq!(ada_in.until_closed(), 4_403);
    assert_eq!(
        Client::plain(server.address, "plan", Some(&ada)).until_closed(),
        4_403
    );
    joined(&server, "other", &ada).write(&letter(5, 'e'));
    ben_in.write(&letter(6, 'f'));
    assert!(server.counts("driftless_restrictions 1"));
    assert!(server.counts("driftless_access_changes_total{cause=\"withdrawn\"} 1"));
    server.run(&["access", "lift", &id]);
    joined(&server, "plan", &ada).write(&letter(7, 'g'));
    let told = server.fails(3, &["access", "lift", &id]);
    assert!(told.contains("driftless access list"), "{told}");
}

#[test]
fn a_newer_token_that_is_none_is_not_told_as_one_that_ran_out() {
    let server = Server::with_tokens();
    let mut client = Client::hocuspocus(server.address, "plan");
    client.show(&server.token("ada", "t-ada"));
    client.until_told("read-write");
    client.show("no token at all");
    client.until_told("permission-denied");
}

#[test]
fn a_hocuspocus_session_is_lowered_raised_and_ended_and_cannot_come_back() {
    let server = Server::with_tokens();
    let ada = server.token("ada", "t-ada");
    let mut client = opened(&server, "plan", &ada);
    client.write(&letter(1, 'a'));

    let id = server.restrict(&["--document", "plan", "--to", "comment"]);
    client.until_told("readonly");
    assert_eq!(server.right("ada"), "comment");
    client.write(&letter(2, 'b'));
    assert!(!server.text("plan").contains('b'));
    server.run(&["access", "lift", &id]);
    client.until_told("read-write");
    client.write(&letter(3, 'c'));
    assert!(server.text("plan").contains('c'));

    server.restrict(&["--subject", "ada", "--to", "none"]);
    client.until_told(DENIED);
    client.show(&ada);
    client.until_told(DENIED);
    let mut again = Client::hocuspocus(server.address, "plan");
    again.show(&ada);
    again.until_told(DENIED);
    assert_eq!(server.run(&["session", "list"])["total"], 0);
}

#[test]
fn what_runs_out_gives_back_what_was_granted() {
    let server = Server::with_tokens();
    let ada = server.token("ada", "t-ada");
    let mut plain = joined(&server, "plan", &ada);
    let ben = server.token("ben", "t-ben");
    let mut provider = opened(&server, "plan", &ben);
    server.restrict(&["--document", "*", "--to", "read", "--for", "5s"]);
    plain.until_told("no longer change it");
    provider.until_told("readonly");
    provider.until_told("read-write");
    server.until_right("ada", "write");
    plain.write(&letter(1, 'a'));
    assert!(server.text("plan").contains('a'));
    assert!(server.counts("driftless_restrictions 0"));
}

#[test]
fn newer_tokens_may_be_let_in() {
    let server = Server::with_tokens();
    let old = server.token("ada", "old");
    let mut client = joined(&server, "plan", &old);
    // Tokens tell whole seconds.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    server.restrict(&["--subject", "ada", "--to", "none", "--old-tokens"]);
    assert_eq!(client.until_closed(), 4_403);
    assert_eq!(
        Client::plain(server.address, "plan", Some(&old)).until_closed(),
        4_403
    );
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let new = server.token("ada", "new");
    joined(&server, "plan", &new).write(&letter(1, 'a'));
}

#[test]
fn who_is_only_ended_may_come_back() {
    let server = Server::with_tokens();
    let ada = server.token("ada", "t-ada");
    let mut plain = joined(&server, "plan", &ada);
    let mut provider = opened(&server, "other", &ada);
    let listed = server.run(&["session", "list", "--subject", "ada", "--document", "o*"]);
    assert_eq!(listed["total"], 1, "{listed}");
    let session = &listed["sessions"][0];
    assert_eq!(session["document"], "other");
    assert_eq!(session["token_id"], "t-ada");
    assert_eq!(session["door"], "hocuspocus");
    assert!(session["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    let ended = server.run(&["session", "end", "--subject", "ada"]);
    assert_eq!(
        ended,
        serde_json::json!({ "sessions": 2, "nodes": "alone" })
    );
    assert_eq!(
        (plain.until_closed(), provider.until_closed()),
        (4_510, 4_510)
    );
    joined(&server, "plan", &ada).write(&letter(1, 'a'));
    opened(&server, "other", &ada).write(&letter(2, 'b'));
    let told = server.fails(2, &["session", "end"]);
    assert!(told.contains("say whom"), "{told}");
}

#[test]
fn a_check_asks_the_application_anew_and_a_restriction_does_not() {
    let application = Application::start();
    let server = Server::with_hook(&application.url);
    let mut plain = joined(&server, "plan", "anything");
    let mut provider = opened(&server, "plan", "something");
    let before = application.asked();
    let id = server.restrict(&["--subject", "ada", "--to", "read"]);
    plain.until_told("no longer change it");
    provider.until_told("readonly");
    server.run(&["access", "lift", &id]);
    provider.until_told("read-write");
    assert_eq!(
        application.asked(),
        before,
        "what was granted is remembered"
    );

    let checked = server.run(&["session", "check", "--document", "plan"]);
    assert_eq!(checked["sessions"], 2);
    application.until_asked(before + 2);
    application.fail(true);
    server.run(&["session", "check", "--document", "plan"]);
    application.until_asked(before + 4);
    application.fail(false);
    plain.write(&letter(1, 'a'));
    provider.write(&letter(2, 'b'));
    assert_eq!(
        server.run(&["session", "list"])["total"],
        2,
        "who cannot be judged stays"
    );
    application.refuse_all();
    server.run(&["session", "check", "--document", "plan"]);
    assert_eq!(plain.until_closed(), 4_403);
    provider.until_told(DENIED);
}

#[test]
fn restrictions_outlast_a_stop_and_can_be_made_without_a_server() {
    let server = Server::with_tokens();
    let id = server.restrict(&["--document", "plan", "--to", "none"]);
    let folder = server.stopped();
    assert_eq!(json(on(&folder, &["access", "list"]))[0]["id"], id.as_str());
    let more = [
        "access",
        "restrict",
        "--subject",
        "eve",
        "--to",
        "read",
        "--for",
        "1h",
    ];
    let made = json(on(&folder, &more));
    assert_eq!(
        (&made["sessions"], &made["nodes"]),
        (&0.into(), &"alone".into())
    );
    json(on(&folder, &["access", "lift", &id]));
    let text = crate::server::output(on(&folder, &["access", "list"]));
    assert!(
        text.contains("subject eve") && !text.contains(&id),
        "{text}"
    );
    let refused = on(&folder, &["session", "list"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(4));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_check_of_many_sessions_does_not_flood_the_application() {
    const SESSIONS: usize = 100;
    // Half of what the server asks at a time leaves room for those who join.
    const AT_A_TIME_MAX: usize = 32;
    let application = Application::start();
    let server = Server::with_hook(&application.url);
    let mut clients: Vec<_> = (0..SESSIONS)
        .map(|number| joined(&server, &format!("d{number}"), "anything"))
        .collect();
    application.take_most();
    let before = application.asked();
    let checked = server.run(&["session", "check", "--document", "d*"]);
    assert_eq!(checked["sessions"], SESSIONS);
    application.until_asked(before + SESSIONS);
    let most = application.take_most();
    assert!((2..=AT_A_TIME_MAX).contains(&most), "{most} at a time");
    for (number, client) in clients.iter_mut().enumerate() {
        client.write(&letter(number as u8, 'a'));
    }
    assert_eq!(server.run(&["session", "list"])["total"], SESSIONS);
}

#[test]
fn calls_over_http_are_held_to_it_too() {
    let server = Server::with_tokens();
    let ada = server.token("ada", "t-ada");
    joined(&server, "plan", &ada).write(&letter(1, 'a'));
    let path = format!("/d/plan/as-update?token={ada}");
    assert!(
        server.get(&path).starts_with("HTTP/1.0 200"),
        "{}",
        server.get(&path)
    );
    server.restrict(&["--subject", "ada", "--to", "none"]);
    let refused = server.get(&path);
    assert!(refused.starts_with("HTTP/1.0 403"), "{refused}");
    assert!(refused.contains("access was withdrawn"), "{refused}");
}
