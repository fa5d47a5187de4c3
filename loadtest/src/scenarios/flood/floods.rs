//! The floods themselves, one thread each.

use std::thread;
use std::time::{Duration, Instant};

use super::socket::{Over, Socket};
use crate::client::messages::{EMPTY_VECTOR, push_presence, push_step1};
use crate::client::target::Target;

/// Every flood looks at its sockets this often.
const STEP: Duration = Duration::from_millis(20);
/// Of the steps of a second, this one is made by dripping sockets.
const STEPS_PER_SECOND: usize = 50;
/// How long a join waits for whatever the server answers.
const JOIN_PATIENCE: Duration = Duration::from_millis(200);
/// The length that the head of a dripping message promises.
const DRIPPING_BYTES: u64 = 1 << 20;

/// What became of one flood.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    /// Sockets let in, joins tried or moves sent.
    pub(super) done: u64,
    pub(super) refused: u64,
    pub(super) ended: u64,
}

/// Opens sockets up to `wanted`, a fiftieth of them at a step, and opens again what was ended.
fn top_up(
    sockets: &mut Vec<Socket>,
    wanted: usize,
    counts: &mut Counts,
    mut open: impl FnMut(u64) -> Result<Socket, Over>,
) {
    for _ in 0..(wanted / STEPS_PER_SECOND).max(1) {
        if sockets.len() >= wanted {
            return;
        }
        match open(counts.done) {
            Ok(socket) => {
                sockets.push(socket);
                counts.done += 1;
            }
            // Whoever is refused comes back at the next step.
            Err(Over) => return counts.refused += 1,
        }
    }
}

/// Sockets that are upgraded and say nothing.
pub(super) fn keep_silent(strangers: &Target, wanted: usize, until: Instant) -> Counts {
    let (mut counts, mut scratch) = (Counts::default(), [0; 4096]);
    let request = strangers.opening("silent").request;
    let mut sockets = Vec::new();
    while Instant::now() < until {
        top_up(&mut sockets, wanted, &mut counts, |_| {
            Socket::upgrade(strangers.address, &request)
        });
        retain_live(&mut sockets, &mut counts, |socket| {
            socket.discard(&mut scratch).map(|_| ())
        });
        thread::sleep(STEP);
    }
    counts
}

/// Sockets that send one byte a second, in requests and in messages.
pub(super) fn drip(strangers: &Target, wanted: usize, until: Instant) -> Counts {
    let (mut counts, mut scratch) = (Counts::default(), [0; 4096]);
    let request = strangers.opening("dripping").request;
    let message = [&[0x82, 0xff][..], &DRIPPING_BYTES.to_be_bytes(), &[0; 4]].concat();
    let mut sockets = Vec::new();
    let mut step = 0;
    while Instant::now() < until {
        top_up(&mut sockets, wanted, &mut counts, |number| {
            if number % 2 == 0 {
                return Socket::open(strangers.address, b"GET /hocuspocus HTTP/1.1\r\nX: ");
            }
            let mut socket = Socket::upgrade(strangers.address, &request)?;
            socket.push(&message)?;
            Ok(socket)
        });
        step += 1;
        if step % STEPS_PER_SECOND == 0 {
            retain_live(&mut sockets, &mut counts, |socket| {
                socket.push(b"x")?;
                socket.discard(&mut scratch).map(|_| ())
            });
        }
        thread::sleep(STEP);
    }
    counts
}

/// Joins of documents that do not exist, each left once the server has said something.
pub(super) fn join(
    target: &Target,
    strangers: &Target,
    per_second: usize,
    until: Instant,
) -> Counts {
    let (mut counts, mut scratch) = (Counts::default(), [0; 4096]);
    let begun = Instant::now();
    let mut joining: Vec<(Instant, Socket)> = Vec::new();
    while Instant::now() < until {
        let due = (begun.elapsed().as_secs_f64() * per_second as f64) as u64;
        while counts.done + counts.refused < due && Instant::now() < until {
            let number = counts.done + counts.refused;
            let (target, words) = match number % 2 {
                0 => (target, step_1()),
                _ => (strangers, introduction(strangers, number)),
            };
            let opening = target.opening(&format!("nowhere-{number}"));
            let joined = Socket::upgrade(target.address, &opening.request)
                .and_then(|mut socket| socket.push(&words).map(|()| socket));
            match joined {
                Ok(socket) => {
                    counts.done += 1;
                    joining.push((Instant::now() + JOIN_PATIENCE, socket));
                }
                Err(Over) => counts.refused += 1,
            }
        }
        joining.retain_mut(|(patience, socket)| match socket.discard(&mut scratch) {
            Ok(bytes) => bytes == 0 && Instant::now() < *patience,
            Err(Over) => {
                counts.ended += 1;
                false
            }
        });
        thread::sleep(STEP);
    }
    counts
}

fn step_1() -> Vec<u8> {
    let mut frame = Vec::new();
    push_step1(&mut frame, EMPTY_VECTOR);
    frame
}

/// What a provider says first, with a token that nobody signed.
fn introduction(strangers: &Target, number: u64) -> Vec<u8> {
    let opening = strangers.opening(&format!("nowhere-{number}"));
    opening
        .envelope
        .map(|envelope| envelope.introduction("nobody.signed.this"))
        .unwrap_or_default()
}

/// Clients that move their cursors, in turns, so many times a second together.
pub(super) fn move_cursors(
    target: &Target,
    rooms: &[String],
    first_id: u64,
    per_second: usize,
    until: Instant,
) -> Counts {
    let (mut counts, mut scratch) = (Counts::default(), vec![0; 1 << 16]);
    // Far from the ids of writers.
    let id_of = |number: u64| first_id + (1 << 20) + number;
    let mut sockets = Vec::new();
    let begun = Instant::now();
    let mut rooms_open = Counts::default();
    while Instant::now() < until && per_second > 0 {
        top_up(&mut sockets, rooms.len(), &mut rooms_open, |number| {
            let room = &rooms[number as usize % rooms.len()];
            let mut socket = Socket::upgrade(target.address, &target.opening(room).request)?;
            socket.push(&step_1())?;
            Ok(socket)
        });
        let due = (begun.elapsed().as_secs_f64() * per_second as f64) as u64;
        let (first, clock) = (counts.done, counts.done + 1);
        let share = (due - first) / sockets.len().max(1) as u64;
        let mut number = 0;
        retain_live(&mut sockets, &mut rooms_open, |socket| {
            number += 1;
            let mut frames = Vec::new();
            for more in 0..share {
                let state = format!(r#"{{"cursor":{{"anchor":{more},"head":{clock}}}}}"#);
                push_presence(
                    &mut frames,
                    &[(id_of(number), clock + more, state.as_bytes())],
                );
            }
            counts.done += share;
            socket.push(&frames)?;
            socket.discard(&mut scratch).map(|_| ())
        });
        thread::sleep(STEP);
    }
    Counts {
        done: counts.done,
        ..rooms_open
    }
}

/// Keeps the sockets for which `act` goes well, and counts the others.
fn retain_live(
    sockets: &mut Vec<Socket>,
    counts: &mut Counts,
    mut act: impl FnMut(&mut Socket) -> Result<(), Over>,
) {
    let before = sockets.len();
    sockets.retain_mut(|socket| act(socket).is_ok());
    counts.ended += (before - sockets.len()) as u64;
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::cli::Dialect;

    /// A server that upgrades `accepted` sockets, refuses the others, and keeps or ends all.
    fn serve(accepted: usize, keeps: bool) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/hocuspocus", listener.local_addr().unwrap());
        thread::spawn(move || {
            let mut kept = Vec::new();
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let mut stream = stream;
                let _ = stream.read(&mut [0; 4096]);
                let answer: &[u8] = match number < accepted {
                    true => b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
                    false => b"HTTP/1.1 429 Too Many Requests\r\n\r\n",
                };
                let _ = stream.write_all(answer);
                if keeps {
                    kept.push(stream);
                }
            }
        });
        Target::parse(&url, Dialect::Hocuspocus).unwrap()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(400)
    }

    #[test]
    fn silent_sockets_are_opened_once_and_those_refused_are_counted() {
        let counts = keep_silent(&serve(2, true), 3, soon());
        assert_eq!((counts.done, counts.ended), (2, 0));
        assert!(counts.refused > 0);
    }

    #[test]
    fn what_the_server_ends_is_opened_again() {
        let counts = keep_silent(&serve(usize::MAX, false), 1, soon());
        assert!(counts.done > 1 && counts.ended > 0, "{counts:?}");
    }

    #[test]
    fn joins_keep_their_pace() {
        let server = serve(usize::MAX, true);
        let counts = join(&server, &server, 20, soon());
        assert!((1..=8).contains(&counts.done), "{counts:?}");
    }
}
