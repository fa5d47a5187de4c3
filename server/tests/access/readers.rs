//! Peers that read slowly or not at all: what is taken back is taken from them too, and what they say
//! is not forgotten.

use std::time::{Duration, Instant};

use crate::client::{Client, letter, long_text};
use crate::server::Server;

/// Far beyond what the bytes of a document that is loaded take to fill every buffer on the way.
const UNTIL_STUCK: Duration = Duration::from_millis(500);
/// More than the buffers of a socket take.
const LONG_BYTES: usize = 24 << 20;

#[test]
fn a_restriction_reaches_who_reads_nothing() {
    let server = Server::with_tokens();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("long.update");
    std::fs::write(&file, long_text(9, LONG_BYTES)).unwrap();
    server.run(&["doc", "import", "plan", file.to_str().unwrap()]);
    let token = server.token("mallory", "t-mallory");
    let mut mallory = Client::plain(server.address, "plan", Some(&token));
    mallory.say(&[0, 0, 1, 0]);
    std::thread::sleep(UNTIL_STUCK);

    server.restrict(&["--subject", "mallory", "--to", "read"]);
    server.until_right("mallory", "read");
    mallory.send_update(&letter(2, '!'));
    server.until_counted("driftless_denied_total 1");
    assert!(!server.text("plan").contains('!'));

    server.restrict(&["--subject", "mallory", "--to", "none"]);
    server.until_left("mallory");
}

#[test]
fn who_is_behind_with_its_receipts_is_read_again_once_it_took_them() {
    const UPDATES: usize = 4_000;
    // Longer than this test has patience: nothing but receipts moves the socket.
    let server =
        Server::with_tokens_and(&["--session-queue-bytes-max", "4KiB", "--keepalive-ms", "29s"]);
    let document = "d".repeat(400);
    let mut client = Client::hocuspocus(server.address, &document);
    client.show(&server.token("ada", "t-ada"));
    client.until_told("read-write");
    // A step 1: it counts from now on.
    client.say(&[0, 0, 1, 0]);
    let mut writer = client.twin();
    let writing = std::thread::spawn(move || {
        for number in 0..UPDATES {
            // Known from the second on, and answered all the same.
            writer.send_update(&letter(1, 'a'));
            if number % 64 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let begun = Instant::now();
    for _ in 0..UPDATES {
        client.until("a receipt", |message| message == [8, 1]);
    }
    assert!(begun.elapsed() < Duration::from_secs(28), "it stood still");
    writing.join().unwrap();
}
