//! Which certificate is shown, while its files change, and what a server without a usable one says.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{LOOK_EVERY_MS, behind_tls, client, connect, join, new_pair, secure, shown};
use crate::binary::{Binary, serve, signal};
use crate::certificates::{Folder, Pair, pem};
use crate::peer::{BINARY, PATIENCE, ServerFrame, start, until, update};

/// Connects anew until this certificate is shown.
async fn until_shown(address: std::net::SocketAddr, trusted: &[&Pair], wanted: &Pair) {
    let config = client(trusted);
    let waited = timeout(PATIENCE, async {
        while *shown(&connect(address, &config).await) != wanted.certificate {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("the new certificate is shown");
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_clients_and_old_ones_go_on() {
    let (first, second) = (new_pair(), new_pair());
    let folder = Folder::holding(&first);
    let (server, rooms) = start(behind_tls(&folder));
    let trusting = client(&[&first, &second]);
    let mut old = join(server.address(), &trusting, "/ws/a").await;
    assert_eq!(*shown(&old), first.certificate);

    folder.write(&second);
    until_shown(server.address(), &[&first, &second], &second).await;
    // A session of before is not resumed: it would vouch for the old certificate.
    let mut new = join(server.address(), &trusting, "/ws/a").await;
    assert_eq!(*shown(&new), second.certificate);
    until("both have joined", || rooms.state().attached.len() == 2).await;
    old.send_update(b"from the old").await;
    new.send_update(b"from the new").await;
    let wanted = ServerFrame(BINARY, update(b"from the old"));
    assert_eq!(new.frame().await, wanted);
    let wanted = ServerFrame(BINARY, update(b"from the new"));
    assert_eq!(old.frame().await, wanted);
}

#[tokio::test]
async fn broken_files_change_nothing_until_they_are_mended() {
    let (first, second) = (new_pair(), new_pair());
    let folder = Folder::holding(&first);
    let (server, _rooms) = start(behind_tls(&folder));
    let looks = Duration::from_millis(LOOK_EVERY_MS * 5);
    let break_it: [&dyn Fn(); 4] = [
        &|| folder.write_certificate(&second),
        &|| fs::write(folder.certificate_path(), "no certificate").unwrap(),
        &|| fs::remove_file(folder.key_path()).unwrap(),
        &|| fs::remove_file(folder.certificate_path()).unwrap(),
    ];
    for break_it in break_it {
        break_it();
        tokio::time::sleep(looks).await;
        let peer = connect(server.address(), &client(&[&first])).await;
        assert_eq!(*shown(&peer), first.certificate);
    }
    folder.write(&second);
    until_shown(server.address(), &[&first, &second], &second).await;
}

fn flags(folder: &Folder) -> [String; 4] {
    let in_folder = |name| folder.path().join(name).to_str().unwrap().to_owned();
    [
        "--tls-certificate".to_owned(),
        in_folder("certificate.pem"),
        "--tls-key".to_owned(),
        in_folder("key.pem"),
    ]
}

async fn metrics(binary: &Binary, trusted: &[&Pair]) -> String {
    let mut scrape = connect(binary.address, &client(trusted)).await;
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    scrape.send(request.as_bytes()).await;
    String::from_utf8(scrape.rest().await).unwrap()
}

#[tokio::test]
async fn who_is_asked_to_look_while_it_starts_is_not_ended_by_it() {
    let folder = Folder::holding(&new_pair());
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = format!("--store=postgres://x@{}/x", silent.local_addr().unwrap());
    let data = tempfile::tempdir().unwrap();
    let flags = flags(&folder);
    let flags: Vec<&str> = flags.iter().chain([&store]).map(String::as_str).collect();
    let mut child = serve(data.path(), &flags)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It waits for its store.
    let _asked = timeout(PATIENCE, silent.accept()).await.unwrap().unwrap();
    signal(&child, "-HUP");
    let begun = Instant::now();
    let ended = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        // Who is asked twice ends at once, with a code.
        signal(&child, "-TERM");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(ended.code().is_some(), "{ended}");
}

#[tokio::test]
async fn the_real_server_says_what_it_serves_and_reloads_when_asked() {
    let first = Pair::with(super::NAME, |params| {
        params.not_after = rcgen::date_time_ymd(2099, 1, 1);
    });
    let second = new_pair();
    let folder = Folder::holding(&first);
    let flags = flags(&folder);
    let binary = Binary::start(&flags.each_ref().map(String::as_str));
    let text = metrics(&binary, &[&first]).await;
    let told = "driftless_tls_certificate_not_after_seconds 4070908800\n";
    assert!(text.contains(told), "{text}");

    let plain = TcpStream::connect(binary.address).await.unwrap();
    assert!(secure(plain, &client(&[&second])).await.is_err());

    // Long before it would look by itself.
    folder.write_certificate(&second);
    binary.signal("-HUP");
    until("it complains", || {
        let lines = binary.lines();
        lines.iter().any(|line| line.contains("is not the one of"))
    })
    .await;
    folder.write_key(&second);
    binary.signal("-HUP");
    until_shown(binary.address, &[&first, &second], &second).await;
    let text = metrics(&binary, &[&second]).await;
    for told in [
        r#"driftless_tls_reloads_total{outcome="exchanged"} 1"#,
        r#"driftless_tls_reloads_total{outcome="failed"} 1"#,
        r#"driftless_tls_handshakes_failed_total{reason="#,
    ] {
        assert!(text.contains(told), "{told} in {text}");
    }
}

/// Runs a command of the real binary to its end.
fn run(command: &str, folder: &Folder) -> Output {
    let data = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_driftless"))
        .args([command, "--data"])
        .arg(data.path().join("data"))
        .args(flags(folder))
        .output()
        .unwrap()
}

#[test]
fn serve_and_doctor_refuse_what_cannot_be_used() {
    let pair = new_pair();
    let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQ=";
    type Break<'a> = &'a dyn Fn(&Folder);
    let table: [(Break<'_>, &str); 6] = [
        (&|folder| folder.write_key(&new_pair()), "is not the one of"),
        (
            &|folder| fs::remove_file(folder.key_path()).unwrap(),
            "key.pem cannot be read",
        ),
        (
            &|folder| fs::write(folder.certificate_path(), "").unwrap(),
            "holds no certificate",
        ),
        (
            &|folder| {
                let text = pem("ENCRYPTED PRIVATE KEY", b"sealed");
                fs::write(folder.key_path(), text).unwrap();
            },
            "openssl pkey",
        ),
        (
            &|folder| {
                let text = format!("-----BEGIN PRIVATE KEY-----\n{secret}\n");
                fs::write(folder.key_path(), text).unwrap();
            },
            "no valid PEM",
        ),
        (
            &|folder| {
                let text = pem("CERTIFICATE", b"not DER at all");
                fs::write(folder.certificate_path(), text).unwrap();
            },
            "cannot be used",
        ),
    ];
    for (break_it, wanted) in table {
        let folder = Folder::holding(&pair);
        break_it(&folder);
        for command in ["serve", "doctor"] {
            let ran = run(command, &folder);
            let told =
                String::from_utf8(ran.stdout).unwrap() + &String::from_utf8(ran.stderr).unwrap();
            assert!(!ran.status.success(), "{command}: {told}");
            assert!(told.contains(wanted), "{command}: {wanted} in {told}");
            assert!(!told.contains(secret), "{told}");
        }
    }
}

#[test]
fn doctor_counts_the_days() {
    let table = [
        (
            rcgen::date_time_ymd(2099, 1, 1),
            "days left (2099-01-01T00:00:00Z)",
        ),
        (rcgen::date_time_ymd(2020, 1, 1), "has expired"),
    ];
    for (not_after, wanted) in table {
        let pair = Pair::with(super::NAME, |params| params.not_after = not_after);
        let ran = run("doctor", &Folder::holding(&pair));
        let told = String::from_utf8(ran.stdout).unwrap();
        assert!(ran.status.success(), "{told}");
        assert!(told.contains(wanted), "{told}");
    }
}
