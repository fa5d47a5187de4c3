//! The floods themselves, one thread each.

use std::thread;
use std::time::{Duration, Instant};

use super::socket::{Over, Socket};
use super::sockets::{Counts, Sockets};
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

/// Sockets that are upgraded and say nothing.
pub(super) fn keep_silent(strangers: &Target, wanted: usize, until: Instant) -> Counts {
    let mut scratch = [0; 4096];
    let request = strangers.opening("silent").request;
    let mut sockets = Sockets::new(wanted);
    while Instant::now() < until {
        sockets.top_up(STEPS_PER_SECOND, |_| {
            Socket::upgrade(strangers.address, &request)
        });
        sockets.retain_live(|_, socket| socket.discard(&mut scratch).map(|_| ()));
        thread::sleep(STEP);
    }
    sockets.counts
}

/// Sockets that send one byte a second: those of an even index in requests, the others in messages.
pub(super) fn drip(strangers: &Target, wanted: usize, until: Instant) -> Counts {
    let mut scratch = [0; 4096];
    let request = strangers.opening("dripping").request;
    let message = [&[0x82, 0xff][..], &DRIPPING_BYTES.to_be_bytes(), &[0; 4]].concat();
    let mut sockets = Sockets::new(wanted);
    let mut step = 0;
    while Instant::now() < until {
        sockets.top_up(STEPS_PER_SECOND, |index| {
            if index % 2 == 0 {
                return Socket::open(strangers.address, b"GET /hocuspocus HTTP/1.1\r\nX: ");
            }
            let mut socket = Socket::upgrade(strangers.address, &request)?;
            socket.push(&message)?;
            Ok(socket)
        });
        step += 1;
        if step % STEPS_PER_SECOND == 0 {
            sockets.retain_live(|_, socket| {
                socket.push(b"x")?;
                socket.discard(&mut scratch).map(|_| ())
            });
        }
        thread::sleep(STEP);
    }
    sockets.counts
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

/// Clients that move their cursors, in turns, so many times a second together. What is done are moves
/// that were written to their sockets whole: a server that reads slowly is not sent them all.
pub(super) fn move_cursors(
    target: &Target,
    rooms: &[String],
    first_id: u64,
    per_second: usize,
    until: Instant,
) -> Counts {
    let mut scratch = vec![0; 1 << 16];
    // Far from the ids of writers.
    let id_of = |index: usize| first_id + (1 << 20) + index as u64;
    let mut sockets = Sockets::new(rooms.len());
    let begun = Instant::now();
    let (mut offered, mut written) = (0, 0);
    while Instant::now() < until && per_second > 0 {
        sockets.top_up(STEPS_PER_SECOND, |index| {
            let opening = target.opening(&rooms[index]);
            let mut socket = Socket::upgrade(target.address, &opening.request)?;
            socket.push(&step_1())?;
            Ok(socket)
        });
        let due = (begun.elapsed().as_secs_f64() * per_second as f64) as u64;
        let clock = offered + 1;
        let share = (due - offered) / sockets.open().max(1);
        sockets.retain_live(|index, socket| {
            for more in 0..share {
                let state = format!(r#"{{"cursor":{{"anchor":{more},"head":{clock}}}}}"#);
                let mut message = Vec::new();
                push_presence(
                    &mut message,
                    &[(id_of(index), clock + more, state.as_bytes())],
                );
                socket.offer(&message);
            }
            offered += share;
            written += socket.flush()?;
            socket.discard(&mut scratch).map(|_| ())
        });
        thread::sleep(STEP);
    }
    Counts {
        done: written,
        ..sockets.counts
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc;

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
        Instant::now() + Duration::from_secs(4)
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

    /// Upgrades one socket, reads nothing while it is open and then all: whole messages, after the
    /// first one.
    fn read_late(listener: &TcpListener, may_read: &mpsc::Receiver<()>) -> u64 {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let answer = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
        stream.write_all(answer).unwrap();
        let _ = may_read.recv();
        let mut sent = Vec::new();
        let _ = stream.read_to_end(&mut sent);
        let (mut rest, mut messages) = (&sent[..], 0);
        // Short messages: two bytes of head, four of a mask, and the length is in the second one.
        while rest.len() > 1 && rest.len() >= 6 + usize::from(rest[1] & 0x7f) {
            rest = &rest[6 + usize::from(rest[1] & 0x7f)..];
            messages += 1;
        }
        messages - 1
    }

    #[test]
    fn only_moves_that_were_written_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/hocuspocus", listener.local_addr().unwrap());
        let target = Target::parse(&url, Dialect::YWebsocket).unwrap();
        let (over, may_read) = mpsc::channel();
        let server = thread::spawn(move || read_late(&listener, &may_read));
        let at_once = Instant::now() + Duration::from_millis(400);
        // Far more than the buffers of two sockets hold.
        let counts = move_cursors(&target, &["room".to_owned()], 1, 2_000_000, at_once);
        over.send(()).unwrap();
        assert_eq!(counts.done, server.join().unwrap());
    }

    #[test]
    fn half_of_those_that_drip_send_a_request_whatever_is_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/hocuspocus", listener.local_addr().unwrap());
        let (over, is_over) = mpsc::channel::<()>();
        let server = thread::spawn(move || {
            let (mut requests, mut kept) = (0, Vec::new());
            for mut stream in listener.incoming().map_while(Result::ok) {
                if is_over.try_recv().is_ok() {
                    return requests;
                }
                let mut head = [0; 4096];
                let length = stream.read(&mut head).unwrap();
                // Whole requests are answered and ended; those that drip stay.
                if head[..length].ends_with(b"\r\n\r\n") {
                    let answer = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
                    let _ = stream.write_all(answer);
                } else {
                    requests += 1;
                    kept.push(stream);
                }
            }
            requests
        });
        let target = Target::parse(&url, Dialect::Hocuspocus).unwrap();
        let counts = drip(&target, 4, Instant::now() + Duration::from_secs(6));
        over.send(()).unwrap();
        Socket::open(target.address, b"").unwrap();
        assert_eq!(server.join().unwrap(), 2);
        assert!(counts.ended >= 2, "{counts:?}");
    }

    #[test]
    fn joins_keep_their_pace() {
        let server = serve(usize::MAX, true);
        let counts = join(&server, &server, 20, soon());
        assert!((1..=80).contains(&counts.done), "{counts:?}");
    }
}
