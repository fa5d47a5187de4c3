//! The bare relay: what remains of a sync server without CRDT, admission and storage. It bounds what
//! any server can reach on this machine.
//!
//! One thread; everything that waits for a socket leaves in one write. It serves this generator's
//! clients only: their upgrade key is fixed, so its answer is, too.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::client::websocket::{BINARY, CLOSE, read_client_frame};

const LISTENER: Token = Token(usize::MAX);
const EVENTS_AT_ONCE: usize = 1024;
const READ_BUFFER_BYTES: usize = 256 * 1024;
/// Bytes that may wait for one socket; a reader that is further behind is closed.
const WAITING_BYTES_MAX: usize = 64 << 20;
const REQUEST_BYTES_MAX: usize = 16 << 10;
/// The answer to the key that this generator sends (RFC 6455, section 1.3).
const UPGRADE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// Frames: step 1 with an empty vector, step 2 without content.
const STEP_1: &[u8] = &[0x82, 4, 0, 0, 1, 0];
const STEP_2: &[u8] = &[0x82, 5, 0, 1, 2, 0, 0];

#[derive(Debug)]
struct Peer {
    stream: TcpStream,
    /// `None` until the upgrade.
    room: Option<usize>,
    /// The beginning of a frame or request.
    input: Vec<u8>,
    /// What waits for the socket.
    output: Vec<u8>,
    is_dirty: bool,
}

#[derive(Debug, Default)]
struct Relay {
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    rooms: Vec<Vec<usize>>,
    room_of: HashMap<Vec<u8>, usize>,
    dirty: Vec<usize>,
}

/// Serves until the process ends.
pub(crate) fn serve(listen: SocketAddr) -> std::io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(listen)?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(EVENTS_AT_ONCE);
    let mut buffer = vec![0; READ_BUFFER_BYTES];
    let mut relay = Relay::default();
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() == LISTENER {
                relay.accept(&listener, &poll)?;
            } else {
                let index = event.token().0;
                if event.is_writable() {
                    relay.mark_dirty(index);
                }
                if event.is_readable() {
                    relay.read(index, &mut buffer);
                }
            }
        }
        relay.write_dirty();
    }
}

impl Peer {
    /// Writes until nothing waits or the socket is full (the poll then says when there is room);
    /// false when the connection is gone.
    fn write(&mut self) -> bool {
        let mut written = 0;
        while written < self.output.len() {
            match self.stream.write(&self.output[written..]) {
                Ok(0) => return false,
                Ok(length) => written += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        self.output.drain(..written);
        if self.output.is_empty() && self.output.capacity() > READ_BUFFER_BYTES {
            self.output = Vec::new();
        }
        true
    }
}

impl Relay {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> std::io::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let index = self.free.pop().unwrap_or(self.peers.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(&mut stream, Token(index), interest)?;
            let peer = Some(Peer {
                stream,
                room: None,
                input: Vec::new(),
                output: Vec::new(),
                is_dirty: false,
            });
            match self.peers.get_mut(index) {
                Some(slot) => *slot = peer,
                None => self.peers.push(peer),
            }
        }
    }

    fn mark_dirty(&mut self, index: usize) {
        if let Some(Some(peer)) = self.peers.get_mut(index)
            && !std::mem::replace(&mut peer.is_dirty, true)
        {
            self.dirty.push(index);
        }
    }

    /// Reads until the socket is empty.
    fn read(&mut self, index: usize, buffer: &mut [u8]) {
        loop {
            let Some(Some(peer)) = self.peers.get_mut(index) else {
                return;
            };
            let read = peer.stream.read(buffer);
            let bytes = match read {
                Ok(length @ 1..) => &buffer[..length],
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Ok(_) | Err(_) => return self.remove(index),
            };
            let mut input = std::mem::take(&mut peer.input);
            input.extend_from_slice(bytes);
            if !self.take_in(index, &mut input) {
                return self.remove(index);
            }
            if let Some(Some(peer)) = self.peers.get_mut(index) {
                peer.input = input;
            }
        }
    }

    /// Takes whole frames off `input`; false when the peer is to be closed.
    fn take_in(&mut self, index: usize, input: &mut Vec<u8>) -> bool {
        let is_open = matches!(self.peers.get(index), Some(Some(peer)) if peer.room.is_some());
        if !is_open {
            let Some(end) = input.windows(4).position(|end| end == b"\r\n\r\n") else {
                return input.len() < REQUEST_BYTES_MAX;
            };
            let path = input.split(|byte| *byte == b' ').nth(1);
            let path = path.unwrap_or_default().to_vec();
            self.open(index, path);
            input.drain(..end + 4);
        }
        let mut at = 0;
        while let Some((opcode, payload, end)) = read_client_frame(&mut input[at..]) {
            match opcode {
                BINARY => self.handle(index, payload),
                CLOSE => return false,
                _ => {}
            }
            at += end;
        }
        input.drain(..at);
        true
    }

    fn open(&mut self, index: usize, path: Vec<u8>) {
        let next = self.rooms.len();
        let room = *self.room_of.entry(path).or_insert(next);
        if room == next {
            self.rooms.push(Vec::new());
        }
        self.rooms[room].push(index);
        if let Some(Some(peer)) = self.peers.get_mut(index) {
            peer.room = Some(room);
            peer.output.extend_from_slice(UPGRADE);
            peer.output.extend_from_slice(STEP_1);
        }
        self.mark_dirty(index);
    }

    /// Answers step 1, relays updates and presence, ignores the rest.
    fn handle(&mut self, index: usize, payload: &[u8]) {
        match payload {
            [0, 0, ..] => {
                if let Some(Some(peer)) = self.peers.get_mut(index) {
                    peer.output.extend_from_slice(STEP_2);
                }
                self.mark_dirty(index);
            }
            [0, 2, ..] | [1, ..] => self.relay(index, payload),
            _ => {}
        }
    }

    fn relay(&mut self, from: usize, payload: &[u8]) {
        let room = match self.peers.get(from) {
            Some(Some(peer)) => peer.room,
            _ => None,
        };
        let mut header = vec![0x82];
        match payload.len() {
            length @ 0..=125 => header.push(length as u8),
            length @ 126..=0xffff => {
                header.push(126);
                header.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                header.push(127);
                header.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        for &index in room.map_or(&[][..], |room| &self.rooms[room]) {
            if index == from {
                continue;
            }
            if let Some(Some(peer)) = self.peers.get_mut(index) {
                peer.output.extend_from_slice(&header);
                peer.output.extend_from_slice(payload);
                if !std::mem::replace(&mut peer.is_dirty, true) {
                    self.dirty.push(index);
                }
            }
        }
    }

    /// Writes to each socket all that waits for it, at once.
    fn write_dirty(&mut self) {
        for index in std::mem::take(&mut self.dirty) {
            let Some(Some(peer)) = self.peers.get_mut(index) else {
                continue;
            };
            peer.is_dirty = false;
            if peer.output.is_empty() {
                continue;
            }
            if !peer.write() || peer.output.len() > WAITING_BYTES_MAX {
                self.remove(index);
            }
        }
    }

    fn remove(&mut self, index: usize) {
        if let Some(peer) = self.peers.get_mut(index).and_then(Option::take) {
            if let Some(room) = peer.room {
                self.rooms[room].retain(|member| *member != index);
            }
            self.free.push(index);
        }
    }
}
