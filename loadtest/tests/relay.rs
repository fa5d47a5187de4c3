//! The whole generator against a bare relay inside the test: honest, repeating, and losing frames.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

/// What the relay does to the updates of a room.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Honest,
    /// Every update goes out twice.
    Repeating,
    /// Every tenth update goes nowhere.
    Losing,
}

type Rooms = Arc<Mutex<HashMap<String, Vec<TcpStream>>>>;

fn start_relay(manner: Manner) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let rooms = Rooms::default();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let rooms = Arc::clone(&rooms);
            // A client that leaves in the middle of a frame ends its thread.
            std::thread::spawn(move || serve(stream.unwrap(), &rooms, manner));
        }
    });
    address
}

/// Reads frames until the client leaves: answers step 1 and save probes, relays updates.
fn serve(mut stream: TcpStream, rooms: &Rooms, manner: Manner) -> std::io::Result<()> {
    let room = read_upgrade(&mut stream)?;
    stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")?;
    write_frame(&mut stream, &[0, 0, 1, 0])?;
    let own = stream.peer_addr()?;
    rooms
        .lock()
        .unwrap()
        .entry(room.clone())
        .or_default()
        .push(stream.try_clone()?);
    let mut updates = 0;
    loop {
        let message = read_frame(&mut stream)?;
        match message[..] {
            [0, 0, ..] => write_frame(&mut stream, &[0, 1, 2, 0, 0])?,
            [0, 2, ..] => {
                updates += 1;
                if manner == Manner::Losing && updates % 10 == 0 {
                    continue;
                }
                let times = if manner == Manner::Repeating { 2 } else { 1 };
                let mut rooms = rooms.lock().unwrap();
                let others = rooms.get_mut(&room).unwrap().iter_mut();
                for other in others.filter(|other| other.peer_addr().is_ok_and(|at| at != own)) {
                    for _ in 0..times {
                        // Who left hears nothing.
                        let _ = write_frame(other, &message);
                    }
                }
            }
            [102, ..] => write_frame(&mut stream, &message)?,
            _ => {}
        }
    }
}

fn read_upgrade(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).unwrap();
    Ok(request.split(' ').nth(1).unwrap().to_owned())
}

fn read_frame(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = [0; 6];
    stream.read_exact(&mut head)?;
    let length = usize::from(head[1] & 0x7f);
    assert!(length < 126, "the loads of these tests have short frames");
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload)?;
    for (at, byte) in payload.iter_mut().enumerate() {
        *byte ^= head[2 + at % 4];
    }
    Ok(payload)
}

fn write_frame(stream: &mut TcpStream, payload: &[u8]) -> std::io::Result<()> {
    let mut frame = vec![0x82, payload.len() as u8];
    frame.extend_from_slice(payload);
    stream.write_all(&frame)
}

fn loadtest(address: SocketAddr, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["--json", "--url", &format!("ws://{address}/ws")])
        .args(arguments)
        .output()
        .unwrap()
}

fn figures(output: &Output) -> serde_json::Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

const PACED: &[&str] = &[
    "fanout",
    "--rooms",
    "2",
    "--clients",
    "4",
    "--writers",
    "2",
    "--rate",
    "50",
    "--seconds",
    "1",
    "--warmup",
    "0.1",
    "--patience",
    "20",
];

#[test]
fn an_honest_relay_delivers_every_edit_once() {
    let figures = figures(&loadtest(start_relay(Manner::Honest), PACED));
    assert_eq!(figures["missing"], 0);
    assert_eq!(figures["warnings"], serde_json::json!([]));
    let latencies = figures["latencies"].as_u64().unwrap();
    // Four writers at 50 a second, three others each, one second.
    assert!((585..=615).contains(&latencies), "{figures}");
}

#[test]
fn repeated_frames_count_once() {
    let figures = figures(&loadtest(start_relay(Manner::Repeating), PACED));
    assert_eq!(figures["missing"], 0);
    let latencies = figures["latencies"].as_u64().unwrap();
    assert!((585..=615).contains(&latencies), "{figures}");
}

#[test]
fn lost_frames_are_missing_and_late() {
    let hasty = [&PACED[..PACED.len() - 1], &["1"]].concat();
    let figures = figures(&loadtest(start_relay(Manner::Losing), &hasty));
    assert!(figures["missing"].as_u64().unwrap() > 20, "{figures}");
    assert!(figures["p99_ms"].as_f64().unwrap() > 900.0, "{figures}");
    assert!(!figures["warnings"].as_array().unwrap().is_empty());
}

#[test]
fn a_window_saturates_and_acks_are_counted() {
    let address = start_relay(Manner::Honest);
    let window = [
        "fanout",
        "--rooms",
        "2",
        "--clients",
        "3",
        "--writers",
        "1",
        "--window",
        "4",
    ];
    let times = ["--seconds", "3", "--warmup", "0.5"];
    let fanout = figures(&loadtest(address, &[&window[..], &times[..]].concat()));
    assert_eq!(fanout["missing"], 0);
    assert!(
        fanout["deliveries_per_s"].as_f64().unwrap() > 100.0,
        "{fanout}"
    );
    let acks = ["acks", "--documents", "3", "--window", "2"];
    let acks = figures(&loadtest(address, &[&acks[..], &times[..]].concat()));
    assert_eq!(acks["unacked"], 0);
    assert!(acks["acked_per_s"].as_f64().unwrap() > 100.0, "{acks}");
}

#[test]
fn stopped_readers_get_everything_in_the_end() {
    let stopped = [PACED, &["--readers-stopped", "1"]].concat();
    let figures = figures(&loadtest(start_relay(Manner::Honest), &stopped));
    assert_eq!(figures["missing"], 0);
    assert!(figures["stopped_converged_s"].is_number(), "{figures}");
}

#[test]
fn a_dead_or_wrong_url_is_told_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = listener.local_addr().unwrap();
    drop(listener);
    let output = loadtest(dead, PACED);
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("start the server"), "{error}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let wrong = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_upgrade(&mut stream).unwrap();
        stream.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap();
    });
    let output = loadtest(wrong, PACED);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        error.contains("404 Not Found") && error.contains("--url"),
        "{error}"
    );
}
