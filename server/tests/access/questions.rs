//! When an application is asked about peers, how often, and what its silence does to those who are there.

use std::time::{Duration, Instant};

use crate::client::{Client, PATIENCE, letter};
use crate::hook::Application;
use crate::one_node::{joined, opened};
use crate::server::Server;

#[test]
fn a_newer_token_that_cannot_be_judged_ends_nothing_and_is_asked_about_again() {
    const GRANTED: Duration = Duration::from_secs(20);
    let application = Application::start();
    application.lasts(20);
    let server = Server::with_hook(&application.url);
    let mut client = opened(&server, "plan", "first");
    application.fail(true);
    let before = application.asked();
    client.show("second");
    application.until_asked(before + 1);
    client.write(&letter(1, 'a'));
    application.lasts(-1);
    application.fail(false);
    application.until_asked(before + 2);
    application.until_asked_about("second");
    // It outlasts what was granted first.
    std::thread::sleep(GRANTED);
    client.write(&letter(2, 'b'));
    let text = server.text("plan");
    assert!(text.contains('a') && text.contains('b'), "{text}");
}

#[test]
fn many_tokens_for_an_open_document_are_asked_about_one_at_a_time_and_the_last_counts() {
    const TOKENS: usize = 1_000;
    let application = Application::start();
    let server = Server::with_hook(&application.url);
    let mut client = opened(&server, "plan", "first");
    let before = application.asked();
    application.take_most();
    for number in 0..TOKENS {
        client.show(&number.to_string());
    }
    application.until_asked_about(&(TOKENS - 1).to_string());
    client.write(&letter(1, 'a'));
    let asked = application.asked() - before;
    assert!(asked < TOKENS / 2, "asked {asked} times");
    assert_eq!(application.take_most(), 1);
}

#[test]
fn a_hundred_documents_renew_at_once_over_one_socket() {
    const DOCUMENTS: usize = 100;
    let application = Application::start();
    let server = Server::with_hook(&application.url);
    let mut client = Client::hocuspocus(server.address, "d0");
    let each = |client: &mut Client, token: &str| {
        for number in 0..DOCUMENTS {
            client.address(&format!("d{number}"));
            client.show(token);
        }
    };
    each(&mut client, "first");
    application.until_asked(DOCUMENTS);
    client.write(&letter(1, 'a'));
    each(&mut client, "second");
    application.until_asked(2 * DOCUMENTS);
    client.write(&letter(2, 'b'));
    let begun = Instant::now();
    // A first answer that comes behind the second token is void.
    while server.run(&["session", "list"])["total"] != DOCUMENTS {
        assert!(begun.elapsed() < PATIENCE, "not all are open");
    }
}

#[test]
fn who_reads_on_after_the_end_may_do_so_when_checked() {
    let application = Application::start();
    application.lasts(6);
    let server = Server::with_hook_and(&application.url, &["--on-expiry", "read"]);
    let mut plain = joined(&server, "plan", "anything");
    plain.write(&letter(9, 'k'));
    let mut provider = opened(&server, "plan", "something");
    plain.until_told("no longer change it");
    provider.until_told("readonly");
    application.lasts(0);
    let (before, before_its_end) = (application.asked(), server.text("plan").trim().to_owned());
    server.run(&["session", "check", "--document", "plan"]);
    application.until_asked(before + 2);
    let begun = Instant::now();
    while judged_as_expired(&server) < 2 {
        assert!(begun.elapsed() < PATIENCE, "never judged");
    }
    plain.write(&letter(1, 'a'));
    provider.write(&letter(2, 'b'));
    assert_eq!(server.run(&["session", "list"])["total"], 2);
    assert_eq!(server.text("plan").trim(), before_its_end);
}

/// At how many doors one session was.
fn judged_as_expired(server: &Server) -> usize {
    let metrics = server.get("/metrics");
    let decisions = metrics
        .lines()
        .filter(|line| line.starts_with("driftless_auth_decisions_total"));
    decisions
        .filter(|line| line.contains("\"expired\"") && line.ends_with(" 1"))
        .count()
}

#[test]
fn sessions_with_the_same_token_are_checked_together() {
    const SESSIONS: usize = 200;
    let application = Application::start();
    let server = Server::with_hook(&application.url);
    let mut clients: Vec<_> = (0..SESSIONS)
        .map(|_| joined(&server, "plan", "anything"))
        .collect();
    application.refuse_all();
    let before = application.asked();
    server.run(&["session", "check", "--document", "plan"]);
    for client in &mut clients {
        assert_eq!(client.until_closed(), 4_403);
    }
    let asked = application.asked() - before;
    assert!(asked <= SESSIONS / 4, "asked {asked} times");
}

#[test]
fn nobody_is_asked_about_a_connection_that_is_not_taken() {
    let application = Application::start();
    let more = ["--unauthenticated-connections-max", "1"];
    let server = Server::with_hook_and(&application.url, &more);
    joined(&server, "plan", "known").write(&letter(1, 'a'));
    assert_eq!(application.asked(), 1);
    let waiting = Client::connect(server.address, "/hocuspocus");
    let (_, head) = Client::knock(server.address, "/ws/plan?token=stranger");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    // Whom the application let in a moment ago needs no room to wait in.
    joined(&server, "plan", "known").write(&letter(2, 'b'));
    drop(waiting);
    let (_client, _) = loop {
        let (client, head) = Client::knock(server.address, "/ws/plan?token=last");
        if head.starts_with("HTTP/1.1 101 ") {
            break (client, head);
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    application.until_asked_about("last");
    assert_eq!(application.asked(), 2, "about who was taken only");
}
