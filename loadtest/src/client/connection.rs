//! One client: its socket, how far it has joined, and the bytes that wait in either direction.

use std::io::{ErrorKind, Read, Write};

use mio::net::TcpStream;

use super::edit::push_text;
use super::envelope::Envelope;
use super::lib0::push_number;
use super::messages::{EMPTY_UPDATE, EMPTY_VECTOR, Message, for_each_message};
use super::messages::{push_step1, push_step2};
use super::target::Opening;
use super::timer::Clock;
use super::websocket::{
    BINARY, CLOSE, CONTINUATION, FrameHeader, PING, PONG, UpgradeAnswer, push_frame, read_header,
    read_upgrade_answer,
};

/// Frames and bytes received.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Traffic {
    /// Frames that carried data (no pings, no pongs).
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

/// What a client brings along when it joins.
#[derive(Debug, Clone)]
pub(crate) struct Replica {
    /// Its state vector, sent in step 1.
    pub(crate) vector: Vec<u8>,
    /// Its answer to the server's step 1: a step 2 with this update. `None` when the scenario answers
    /// by itself.
    pub(crate) update: Option<Vec<u8>>,
}

impl Replica {
    /// The replica of a client that has `bytes` of text typed by `id`.
    pub(crate) fn typed(id: u64, bytes: usize) -> Self {
        let text: Vec<u8> = (0..bytes).map(|at| b'a' + (at % 26) as u8).collect();
        let mut vector = vec![1];
        push_number(&mut vector, id);
        push_number(&mut vector, bytes as u64);
        let mut update = Vec::new();
        push_text(&mut update, id, 0, &text);
        Self {
            vector,
            update: Some(update),
        }
    }
}

impl Default for Replica {
    fn default() -> Self {
        Self {
            vector: EMPTY_VECTOR.to_vec(),
            update: Some(EMPTY_UPDATE.to_vec()),
        }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Ended {
    #[error("the server refused the upgrade: {0}")]
    Refused(String),
    #[error("the server closed with code {code}: {reason}")]
    Closed { code: u16, reason: String },
    #[error("the connection was cut: {0}")]
    Cut(ErrorKind),
    #[error("the server sent what no y-websocket server sends: {0}")]
    Protocol(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Upgrading,
    Open,
    Ended,
}

/// One client of the swarm.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    phase: Phase,
    /// Stops reading, as a suspended tab does.
    pub(crate) is_paused: bool,
    /// A step 2 arrived: what a y-websocket client calls synced.
    is_synced: bool,
    replica: Replica,
    /// The name around every message, where the dialect has one.
    envelope: Option<Envelope>,
    /// Received bytes that are not a whole frame yet.
    incoming: Vec<u8>,
    /// The parts of a fragmented message.
    fragments: Vec<u8>,
    outgoing: Vec<u8>,
    /// How much of `outgoing` is written.
    written: usize,
}

impl Connection {
    /// A client whose socket is connecting.
    pub(crate) fn new(stream: TcpStream, opening: Opening, replica: Replica) -> Self {
        Self {
            stream,
            phase: Phase::Upgrading,
            is_paused: false,
            is_synced: false,
            replica,
            envelope: opening.envelope,
            incoming: Vec::new(),
            fragments: Vec::new(),
            outgoing: opening.request,
            written: 0,
        }
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.is_synced
    }

    /// Whether messages can be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Closes the socket: a server that said goodbye waits for that.
    pub(crate) fn end(&mut self) {
        self.phase = Phase::Ended;
        // Gone already: nothing to shut.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        self.incoming = Vec::new();
        self.outgoing = Vec::new();
        self.written = 0;
    }

    /// Bytes that wait for the socket.
    pub(crate) fn backlog(&self) -> usize {
        self.outgoing.len() - self.written
    }

    /// Writes `frames` behind what waits already.
    #[inline]
    pub(crate) fn write(&mut self, frames: &[u8]) -> Result<(), Ended> {
        match &self.envelope {
            Some(envelope) => {
                let wrapped = envelope.wrap(frames);
                self.write_bytes(&wrapped)
            }
            None => self.write_bytes(frames),
        }
    }

    #[inline]
    fn write_bytes(&mut self, frames: &[u8]) -> Result<(), Ended> {
        if self.backlog() > 0 || self.phase == Phase::Upgrading {
            self.outgoing.extend_from_slice(frames);
            return Ok(());
        }
        match self.stream.write(frames) {
            Ok(length) if length == frames.len() => Ok(()),
            Ok(length) => {
                self.outgoing.extend_from_slice(&frames[length..]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.outgoing.extend_from_slice(frames);
                Ok(())
            }
            Err(error) => Err(Ended::Cut(error.kind())),
        }
    }

    /// Writes what waits, as far as the socket takes it.
    pub(crate) fn flush(&mut self) -> Result<(), Ended> {
        while self.backlog() > 0 {
            match self.stream.write(&self.outgoing[self.written..]) {
                Ok(length) => self.written += length,
                Err(error) if is_later(error.kind()) => return Ok(()),
                Err(error) => return Err(Ended::Cut(error.kind())),
            }
        }
        self.outgoing = Vec::new();
        self.written = 0;
        Ok(())
    }

    /// Reads all that is there into `buffer` and visits its messages, each with the time at which
    /// its last bytes were read.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        clock: Clock,
        traffic: &mut Traffic,
        visit: &mut impl FnMut(Message<'_>, u64),
    ) -> Result<(), Ended> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(Ended::Cut(ErrorKind::UnexpectedEof)),
                Ok(length) => {
                    let now_ns = clock.now_ns();
                    traffic.bytes += length as u64;
                    self.take(&buffer[..length], traffic, &mut |message| {
                        visit(message, now_ns)
                    })?;
                    // A short read emptied the socket; more bytes bring a new event.
                    if length < buffer.len() {
                        return Ok(());
                    }
                }
                Err(error) if is_later(error.kind()) => return Ok(()),
                Err(error) => return Err(Ended::Cut(error.kind())),
            }
        }
    }

    fn take(
        &mut self,
        bytes: &[u8],
        traffic: &mut Traffic,
        visit: &mut impl FnMut(Message<'_>),
    ) -> Result<(), Ended> {
        if self.incoming.is_empty() {
            let used = self.take_whole(bytes, traffic, visit)?;
            self.incoming.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        self.incoming.extend_from_slice(bytes);
        let mut incoming = std::mem::take(&mut self.incoming);
        let used = self.take_whole(&incoming, traffic, visit)?;
        if used < incoming.len() {
            incoming.drain(..used);
            self.incoming = incoming;
        }
        Ok(())
    }

    /// Handles the whole frames at the start of `bytes` and returns their length.
    fn take_whole(
        &mut self,
        bytes: &[u8],
        traffic: &mut Traffic,
        visit: &mut impl FnMut(Message<'_>),
    ) -> Result<usize, Ended> {
        let mut used = 0;
        if self.phase == Phase::Upgrading {
            match read_upgrade_answer(bytes) {
                UpgradeAnswer::Incomplete => return Ok(0),
                UpgradeAnswer::Refused(status) => return Err(Ended::Refused(status)),
                UpgradeAnswer::Accepted(length) => used = length,
            }
            self.join()?;
        }
        loop {
            let rest = &bytes[used..];
            let header = read_header(rest).map_err(|why| Ended::Protocol(why.to_owned()))?;
            let Some(header) = header else {
                return Ok(used);
            };
            let end = header.header_length.saturating_add(header.payload_length);
            let Some(payload) = rest.get(header.header_length..end) else {
                return Ok(used);
            };
            self.take_frame(header, payload, traffic, visit)?;
            used += end;
        }
    }

    /// Sends step 1, as a client does on open.
    fn join(&mut self) -> Result<(), Ended> {
        self.phase = Phase::Open;
        if let Some(envelope) = &self.envelope {
            let introduction = envelope.introduction("");
            self.write_bytes(&introduction)?;
        }
        let mut frame = Vec::new();
        push_step1(&mut frame, &self.replica.vector);
        self.write(&frame)
    }

    #[inline]
    fn take_frame(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        traffic: &mut Traffic,
        visit: &mut impl FnMut(Message<'_>),
    ) -> Result<(), Ended> {
        match header.opcode {
            BINARY if header.is_final => self.take_payload(payload, traffic, visit),
            BINARY | CONTINUATION => {
                self.fragments.extend_from_slice(payload);
                if !header.is_final {
                    return Ok(());
                }
                let whole = std::mem::take(&mut self.fragments);
                self.take_payload(&whole, traffic, visit)
            }
            PING => {
                let mut pong = Vec::new();
                push_frame(&mut pong, PONG, payload);
                self.write(&pong)
            }
            CLOSE => Err(read_close(payload)),
            _ => Ok(()),
        }
    }

    #[inline]
    fn take_payload(
        &mut self,
        payload: &[u8],
        traffic: &mut Traffic,
        visit: &mut impl FnMut(Message<'_>),
    ) -> Result<(), Ended> {
        traffic.frames += 1;
        let payload = match self
            .envelope
            .as_ref()
            .map(|envelope| envelope.open(payload))
        {
            None => payload,
            Some(Some(message)) => message,
            Some(None) => return Ok(()),
        };
        let mut asked = false;
        for_each_message(payload, |message| {
            match message {
                Message::Step1(_) => asked = true,
                Message::Step2(_) => self.is_synced = true,
                _ => {}
            }
            visit(message);
        })
        .map_err(|error| Ended::Protocol(error.to_string()))?;
        if let Some(update) = self.replica.update.as_ref().filter(|_| asked) {
            let mut answer = Vec::new();
            push_step2(&mut answer, update);
            self.write(&answer)?;
        }
        Ok(())
    }
}

fn is_later(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted
    )
}

fn read_close(payload: &[u8]) -> Ended {
    let (code, reason) = match payload {
        [a, b, reason @ ..] => (u16::from_be_bytes([*a, *b]), reason),
        _ => (1005, payload),
    };
    Ended::Closed {
        code,
        reason: String::from_utf8_lossy(reason).into_owned(),
    }
}
