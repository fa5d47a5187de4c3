//! The check of a Redis server and the guard against copied databases, on a server of their own.
#![allow(clippy::unwrap_used)]

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use super::guard::{self, Database};
use super::{RedisBus, RedisOptions, RedisProblem, check};

/// A server on a loaded machine may take its time.
const START_PATIENCE: Duration = Duration::from_secs(30);

const PASSWORD: &str = "very-secret";

static SERVER: OnceLock<u16> = OnceLock::new();

/// The port of a server that all tests of the process share; its default user needs [`PASSWORD`].
pub(crate) fn port() -> u16 {
    *SERVER.get_or_init(|| {
        let (told, started) = mpsc::channel();
        // The kernel ends the server with the thread that started it, so this one stays.
        std::thread::spawn(move || {
            let folder = tempfile::tempdir().unwrap();
            let (port, mut child) = start(folder.path());
            told.send(port).unwrap();
            let _ = child.wait();
        });
        started.recv().unwrap()
    })
}

fn start(folder: &std::path::Path) -> (u16, Child) {
    let port = driftless_cluster::free_port().unwrap();
    let child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "redis-server", "--save", ""])
        .args(["--bind", "127.0.0.1", "--requirepass", PASSWORD])
        .args(["--port", &port.to_string()])
        .current_dir(folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < START_PATIENCE, "Redis does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    (port, child)
}

/// Options for a user; each test has a prefix of its own.
fn options(user: &str, password: &str, prefix: &str) -> RedisOptions {
    RedisOptions {
        url: format!("redis://{user}:{password}@127.0.0.1:{}", port()),
        prefix: format!("driftless:{prefix}"),
    }
}

async fn run(words: &[&str]) {
    let admin = redis::Client::open(options("", PASSWORD, "").url).unwrap();
    let ran = async {
        let mut connection = guard::connect(&admin).await.unwrap();
        let mut command = redis::Cmd::new();
        command.arg(words);
        command.query_async::<()>(&mut connection).await.unwrap();
    };
    tokio::time::timeout(START_PATIENCE, ran).await.unwrap();
}

fn refusal(checked: Result<super::RedisReport, RedisProblem>) -> String {
    let problem = checked.unwrap_err();
    let told = problem.to_string();
    assert!(matches!(problem, RedisProblem::Refused(_)), "{told}");
    assert!(!told.contains("secret"), "{told}");
    told
}

#[tokio::test]
async fn a_server_that_fits_is_reported() {
    let report = check(&options("", PASSWORD, "fits"), None).await.unwrap();
    assert!(report.version.unwrap().contains('.'));
    assert!(!report.round_trip.is_zero());
    assert!(report.ahead_ms.unwrap().abs() < 10_000);
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_repeated() {
    let told = refusal(check(&options("", "secret-but-wrong", "p"), None).await);
    assert!(told.contains("--bus"), "{told}");
    let mut none = options("", "", "p");
    none.url = format!("redis://127.0.0.1:{}", port());
    assert!(refusal(check(&none, None).await).contains("--bus"));
    none.url = "redis://user:secret@host:port".to_owned();
    refusal(check(&none, None).await);
}

#[tokio::test]
async fn rights_that_are_missing_are_named() {
    let all = [
        "+ping",
        "+get",
        "+set",
        "+publish",
        "+subscribe",
        "+unsubscribe",
    ];
    for (number, missing) in all[..5].iter().enumerate() {
        let user = format!("user-{number}");
        let mut words = vec!["ACL", "SETUSER", &user, "on", ">secret", "~driftless:*"];
        words.push("&driftless:*");
        words.extend(all.iter().filter(|one| *one != missing));
        run(&words).await;
        let told = refusal(check(&options(&user, "secret", "rights"), None).await);
        let command = missing[1..].to_uppercase();
        assert!(
            told.contains(&command) && told.contains("ACL SETUSER"),
            "{told}"
        );
    }
    let mut words = vec!["ACL", "SETUSER", "enough", "on", ">secret", "~driftless:*"];
    words.push("&driftless:*");
    words.extend(all);
    run(&words).await;
    let report = check(&options("enough", "secret", "rights"), None)
        .await
        .unwrap();
    // INFO and TIME are not needed.
    assert_eq!((report.version, report.ahead_ms), (None, None));
}

#[tokio::test]
async fn a_server_that_is_away_is_unreachable() {
    let mut away = options("", "very-secret", "away");
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    away.url = format!("redis://:secret@127.0.0.1:{port}");
    // It takes connections and never answers.
    let silent = check(&away, None).await.unwrap_err();
    drop(free);
    let closed = check(&away, None).await.unwrap_err();
    for problem in [silent, closed] {
        assert!(matches!(problem, RedisProblem::Unreachable(_)), "{problem}");
        assert!(!problem.to_string().contains("secret"), "{problem}");
    }
}

#[tokio::test]
async fn two_databases_with_one_cluster_id_do_not_meet() {
    let options = options("", PASSWORD, "cloned");
    let claim = |fingerprint| check(&options, Some(Database::Claim(fingerprint)));
    check(&options, Some(Database::Look("copy"))).await.unwrap();
    claim("original").await.unwrap();
    claim("original").await.unwrap();
    let told = refusal(claim("copy").await);
    assert!(told.contains("--new-cluster-id"), "{told}");
    refusal(check(&options, Some(Database::Look("copy"))).await);
    check(&options, Some(Database::Look("original")))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_bus_keeps_its_mark_until_it_is_dropped() {
    let options = options("", PASSWORD, "kept");
    let bus = RedisBus::start(&options).unwrap();
    let bus = bus.guarding(&options, "original").unwrap();
    let client = redis::Client::open(options.url.as_str()).unwrap();
    let mut connection = guard::connect(&client).await.unwrap();
    let begun = Instant::now();
    loop {
        let mut ask = redis::cmd("TTL");
        ask.arg(guard::key(&options));
        let left: i64 = ask.query_async(&mut connection).await.unwrap();
        if left > 20 {
            break;
        }
        assert!(begun.elapsed() < START_PATIENCE, "the mark is not set");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    refusal(check(&options, Some(Database::Claim("copy"))).await);
    drop(bus);
}
