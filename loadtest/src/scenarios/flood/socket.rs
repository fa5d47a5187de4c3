//! A socket that owes nobody good behaviour: connect, write what can be written, throw away what comes.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::client::websocket::{UpgradeAnswer, read_upgrade_answer};

/// How long a server may take to accept, and to answer an upgrade.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that wait for a server which reads more slowly; beyond them nothing more is written.
const UNSENT_BYTES_MAX: usize = 1 << 20;

/// The server ended it, or the connection broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Over;

/// One socket that never blocks.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    unsent: Vec<u8>,
    /// Bytes that were written, and behind how many of them each message ends that was offered.
    written: u64,
    ends: VecDeque<u64>,
}

impl Socket {
    /// Connects and writes `bytes`.
    pub(super) fn open(address: SocketAddr, bytes: &[u8]) -> Result<Self, Over> {
        let stream = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT).map_err(|_| Over)?;
        stream.set_nonblocking(true).map_err(|_| Over)?;
        // Small writes are what this is about.
        stream.set_nodelay(true).map_err(|_| Over)?;
        let mut socket = Self {
            stream,
            unsent: Vec::new(),
            written: 0,
            ends: VecDeque::new(),
        };
        socket.push(bytes)?;
        Ok(socket)
    }

    /// The same, and waits for the answer to the upgrade that `bytes` ask for.
    pub(super) fn upgrade(address: SocketAddr, bytes: &[u8]) -> Result<Self, Over> {
        let mut socket = Self::open(address, bytes)?;
        let stream = &mut socket.stream;
        stream.set_nonblocking(false).map_err(|_| Over)?;
        stream
            .set_read_timeout(Some(ANSWER_TIMEOUT))
            .map_err(|_| Over)?;
        let (mut answer, mut part) = (Vec::new(), [0; 1024]);
        loop {
            match stream.read(&mut part) {
                Ok(0) | Err(_) => return Err(Over),
                Ok(length) => answer.extend_from_slice(&part[..length]),
            }
            match read_upgrade_answer(&answer) {
                UpgradeAnswer::Incomplete => {}
                UpgradeAnswer::Accepted(_) => break,
                UpgradeAnswer::Refused(_) => return Err(Over),
            }
        }
        stream.set_nonblocking(true).map_err(|_| Over)?;
        Ok(socket)
    }

    /// Writes `bytes` behind what waits; drops them when too much waits already.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Over> {
        if self.unsent.len() < UNSENT_BYTES_MAX {
            self.unsent.extend_from_slice(bytes);
        }
        self.flush().map(|_| ())
    }

    /// Lets a message wait that [`flush`](Self::flush) counts; drops it when too much waits already.
    pub(super) fn offer(&mut self, message: &[u8]) {
        if self.unsent.len() < UNSENT_BYTES_MAX {
            self.unsent.extend_from_slice(message);
            self.ends.push_back(self.written + self.unsent.len() as u64);
        }
    }

    /// Writes what can be written. How many of the messages that were offered are out by it, whole.
    pub(super) fn flush(&mut self) -> Result<u64, Over> {
        match self.stream.write(&self.unsent) {
            Ok(length) => {
                self.unsent.drain(..length);
                self.written += length as u64;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return Err(Over),
        }
        let out = self.ends.partition_point(|&end| end <= self.written);
        self.ends.drain(..out);
        Ok(out as u64)
    }

    /// Throws away what came; `scratch` is overwritten. How many bytes that were.
    pub(super) fn discard(&mut self, scratch: &mut [u8]) -> Result<usize, Over> {
        let mut bytes = 0;
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Err(Over),
                Ok(length) => bytes += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(bytes),
                Err(_) => return Err(Over),
            }
        }
    }
}
