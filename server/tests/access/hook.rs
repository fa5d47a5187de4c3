//! An application that is asked who may connect.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::client::PATIENCE;

/// It says what it is told to say, until the test process ends.
pub(crate) struct Application {
    pub(crate) url: String,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told {
    refuses: AtomicBool,
    fails: AtomicBool,
    /// How long its next grants last in seconds; below 0 for ever.
    lasts: AtomicI64,
    /// The token it was asked about last.
    token: Mutex<String>,
    hangs: AtomicBool,
    asked: AtomicUsize,
    /// Questions that are being answered now, and the most there were at a time.
    under_way: AtomicUsize,
    most: AtomicUsize,
}

/// How long an answer takes: others come meanwhile.
const ANSWER_TIME: Duration = Duration::from_millis(10);

impl Application {
    /// One that lets everybody write, for now.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/may", listener.local_addr().unwrap());
        let told = Arc::<Told>::default();
        told.lasts.store(-1, Ordering::SeqCst);
        let shared = told.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let told = shared.clone();
                std::thread::spawn(move || answer(stream, &told));
            }
        });
        Self { url, told }
    }

    /// From now on nobody may.
    pub(crate) fn refuse_all(&self) {
        self.told.refuses.store(true, Ordering::SeqCst);
    }

    /// Whether it fails from now on.
    pub(crate) fn fail(&self, fails: bool) {
        self.told.fails.store(fails, Ordering::SeqCst);
    }

    /// How long what it grants lasts in seconds from now on; 0 is over at once, below 0 is for ever.
    pub(crate) fn lasts(&self, seconds: i64) {
        self.told.lasts.store(seconds, Ordering::SeqCst);
    }

    /// Waits until it was asked about a token last.
    pub(crate) fn until_asked_about(&self, token: &str) {
        let begun = Instant::now();
        while *self.told.token.lock().unwrap() != token {
            assert!(begun.elapsed() < PATIENCE, "never asked about {token}");
            std::thread::sleep(ANSWER_TIME);
        }
    }

    /// Whether it gives no answer at all from now on.
    pub(crate) fn hang(&self, hangs: bool) {
        self.told.hangs.store(hangs, Ordering::SeqCst);
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.told.asked.load(Ordering::SeqCst)
    }

    /// Waits until it was asked so often.
    pub(crate) fn until_asked(&self, count: usize) {
        let begun = Instant::now();
        while self.asked() < count {
            assert!(
                begun.elapsed() < PATIENCE,
                "asked only {} times",
                self.asked()
            );
            std::thread::sleep(ANSWER_TIME);
        }
    }

    /// The most questions at a time since this was asked last.
    pub(crate) fn take_most(&self) -> usize {
        self.told.most.swap(0, Ordering::SeqCst)
    }
}

impl Told {
    /// The status and the body of the next answer.
    fn answer(&self) -> (&'static str, String) {
        if self.fails.load(Ordering::SeqCst) {
            return ("500 Internal Server Error", String::new());
        }
        if self.refuses.load(Ordering::SeqCst) {
            return ("403 Forbidden", "{}".to_owned());
        }
        let mut grant = serde_json::json!({ "right": "write", "subject": "ada" });
        if let seconds @ 0.. = self.lasts.load(Ordering::SeqCst) {
            grant["expires_in_seconds"] = seconds.into();
        }
        ("200 OK", grant.to_string())
    }
}

fn answer(mut stream: TcpStream, told: &Told) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let question: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let token = question["token"].as_str().unwrap_or_default();
        // What it was told until it was asked, not while it answers.
        let hangs = told.hangs.load(Ordering::SeqCst);
        let (status, body) = told.answer();
        let mut last = told.token.lock().unwrap();
        token.clone_into(&mut last);
        told.asked.fetch_add(1, Ordering::SeqCst);
        drop(last);
        let under_way = told.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        told.most.fetch_max(under_way, Ordering::SeqCst);
        std::thread::sleep(ANSWER_TIME);
        if hangs {
            // The server gives up and closes.
            let _ = reader.read(&mut [0]);
            return;
        }
        told.under_way.fetch_sub(1, Ordering::SeqCst);
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}
