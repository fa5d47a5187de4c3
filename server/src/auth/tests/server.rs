//! A small HTTP server that answers as a test wants, and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) path: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }
}

/// What the server does with a request.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// Status and body.
    Now(u16, String),
    /// The same with one more header line.
    With(u16, &'static str, String),
    /// Only once the test says [`TestServer::release`].
    Held(u16, String),
    /// A head that promises so many bytes, and fewer of them.
    Short(usize),
    /// Nothing, and the connection stays open.
    Hang,
    /// The connection is closed without a word.
    Close,
}

#[derive(Debug, Default)]
struct State {
    asked: Vec<Asked>,
    released: bool,
}

type Shared = Arc<(Mutex<State>, Condvar)>;

/// Listens until the process ends: each test has few of them, each with few connections.
pub(super) struct TestServer {
    pub(super) address: String,
    shared: Shared,
}

/// Longer than anything here takes, so that a failure ends.
const PATIENCE: Duration = Duration::from_secs(20);

impl TestServer {
    pub(super) fn start(reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Shared::default();
        let reply: Arc<dyn Fn(&Asked) -> Reply + Send + Sync> = Arc::new(reply);
        let state = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (reply, state) = (reply.clone(), state.clone());
                std::thread::spawn(move || serve(stream, &*reply, &state));
            }
        });
        Self { address, shared }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it was asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.shared.0.lock().unwrap().asked.clone()
    }

    /// Waits until it was asked so often.
    pub(super) fn wait_for(&self, requests: usize) {
        let state = self.shared.0.lock().unwrap();
        let fewer = |state: &mut State| state.asked.len() < requests;
        let waited = self
            .shared
            .1
            .wait_timeout_while(state, PATIENCE, fewer)
            .unwrap();
        assert!(
            !waited.1.timed_out(),
            "asked {} times",
            waited.0.asked.len()
        );
    }

    /// Lets held replies go.
    pub(super) fn release(&self) {
        self.shared.0.lock().unwrap().released = true;
        self.shared.1.notify_all();
    }
}

fn serve(stream: TcpStream, reply: &dyn Fn(&Asked) -> Reply, shared: &Shared) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(asked) = request(&mut reader) {
        let reply = reply(&asked);
        shared.0.lock().unwrap().asked.push(asked);
        shared.1.notify_all();
        if !answer(&stream, reply, shared) {
            return;
        }
    }
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut asked = Asked {
        path,
        headers,
        body: String::new(),
    };
    let length = asked.header("content-length").parse().unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    asked.body = String::from_utf8(body).ok()?;
    Some(asked)
}

/// False when the connection is over.
fn answer(mut stream: &TcpStream, reply: Reply, shared: &Shared) -> bool {
    let (status, more, body) = match reply {
        Reply::Now(status, body) => (status, "", body),
        Reply::With(status, header, body) => (status, header, body),
        Reply::Held(status, body) => {
            let state = shared.0.lock().unwrap();
            let held = |state: &mut State| !state.released;
            drop(shared.1.wait_timeout_while(state, PATIENCE, held).unwrap());
            (status, "", body)
        }
        Reply::Short(length) => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{{");
            let _ = stream.write_all(head.as_bytes());
            return false;
        }
        Reply::Hang => {
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
            return false;
        }
        Reply::Close => return false,
    };
    let length = body.len();
    let text = format!("HTTP/1.1 {status} Status\r\n{more}content-length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).is_ok()
}
