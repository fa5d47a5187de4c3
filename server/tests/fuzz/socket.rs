//! A raw connection that writes any bytes, and hears frames meanwhile.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinHandle;

/// What came in and was not looked at.
#[derive(Debug, Default)]
struct Heard {
    bytes: Vec<u8>,
    is_upgraded: bool,
    is_refused: bool,
    is_ended: bool,
}

/// A frame of the server: its first byte and its payload.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame(pub(crate) u8, pub(crate) Vec<u8>);

/// One connection; dropping it cuts it.
#[derive(Debug)]
pub(crate) struct Socket {
    write: Option<OwnedWriteHalf>,
    heard: Rc<RefCell<Heard>>,
    reader: JoinHandle<()>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(mut from: OwnedReadHalf, heard: Rc<RefCell<Heard>>) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => heard.borrow_mut().bytes.extend_from_slice(&buffer[..count]),
        }
    }
    heard.borrow_mut().is_ended = true;
}

impl Socket {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (from, write) = stream.into_split();
        let heard = Rc::<RefCell<Heard>>::default();
        Self {
            write: Some(write),
            reader: tokio::task::spawn_local(read(from, heard.clone())),
            heard,
        }
    }

    /// Writes; a server that is gone takes nothing, which is no fault here.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        // A server that does not read for so long is at fault, which the end of the sequence shows.
        let patience = std::time::Duration::from_secs(2);
        if let Some(write) = &mut self.write {
            let written = tokio::time::timeout(patience, write.write_all(bytes)).await;
            if !matches!(written, Ok(Ok(()))) {
                self.write = None;
            }
        }
    }

    /// Says that nothing more comes, and still hears.
    pub(crate) async fn finish(&mut self) {
        if let Some(mut write) = self.write.take() {
            // The other side may be gone already.
            let _ = write.shutdown().await;
        }
    }

    /// The server has ended the connection.
    pub(crate) fn is_ended(&self) -> bool {
        self.heard.borrow().is_ended
    }

    /// All bytes that came, where no frames are expected.
    pub(crate) fn take_bytes(&self) -> Vec<u8> {
        std::mem::take(&mut self.heard.borrow_mut().bytes)
    }

    /// The complete frames that came; none before the answer to the upgrade, or if it is a refusal.
    pub(crate) fn take_frames(&self) -> VecDeque<Frame> {
        let mut heard = self.heard.borrow_mut();
        let mut frames = VecDeque::new();
        if !heard.is_upgraded && !heard.is_refused {
            let end = heard.bytes.windows(4).position(|four| four == b"\r\n\r\n");
            let Some(end) = end else {
                return frames;
            };
            heard.is_upgraded = heard.bytes.starts_with(b"HTTP/1.1 101 ");
            heard.is_refused = !heard.is_upgraded;
            heard.bytes.drain(..end + 4);
        }
        if heard.is_refused {
            return frames;
        }
        let mut taken = 0;
        while let Some((frame, length)) = frame(&heard.bytes[taken..]) {
            frames.push_back(frame);
            taken += length;
        }
        heard.bytes.drain(..taken);
        frames
    }
}

/// The first frame, if it is complete, and how long it is.
fn frame(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (start, length) = match second {
        126 => (
            4,
            u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
        ),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        length => (2, u64::from(length)),
    };
    let end = start + usize::try_from(length).ok()?;
    let payload = bytes.get(start..end)?.to_vec();
    Some((Frame(first, payload), end))
}
