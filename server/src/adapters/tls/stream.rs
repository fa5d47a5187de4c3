//! An encrypted stream that can change its thread.
//!
//! rustls does the cryptography and holds what is half-read; this moves bytes between it and the
//! socket. What is written is encrypted once and never kept behind the writer's back: whoever writes
//! waits until the socket took the whole record, so that nobody has to come back later for the rest
//! of it, and a peer that takes nothing is seen to take nothing.

use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::Refused;
use super::plain_http::answer_plain_http;
use crate::adapters::Movable;

/// Bytes that are encrypted by one write: four records, and all that one connection buffers on its
/// way out.
const SEALED_BYTES_MAX: usize = 64 * 1024;

/// Bytes that a peer may send before it is let in. Clients without certificates need two or three
/// KiB; rustls alone would gather up to 64 KiB for each of them.
const HANDSHAKE_BYTES_MAX: usize = 16 * 1024;

/// The server's side of a TLS connection.
///
/// A write that has to wait has taken its bytes already, though it does not say so: the next write
/// must bring them again, as a beginning at least. Every writer here does, since it keeps what was
/// not written.
pub(in crate::adapters) struct TlsStream {
    socket: TcpStream,
    session: Session,
}

/// All of a stream but its socket.
struct Session {
    tls: Box<ServerConnection>,
    /// Bytes that are encrypted, while their writer still waits to hear that they are written.
    unconfirmed: usize,
    /// The peer was told that nothing more comes.
    has_said_goodbye: bool,
    /// What went wrong behind the bytes that were just read.
    failure: Option<io::Error>,
}

/// A stream between two threads.
pub(in crate::adapters) struct MovingTlsStream {
    socket: std::net::TcpStream,
    session: Session,
}

impl TlsStream {
    /// Shakes hands, for as long as the peer takes: the caller sets the deadline.
    pub(super) async fn accept(
        socket: TcpStream,
        config: Arc<ServerConfig>,
    ) -> Result<Self, Refused> {
        let mut tls = ServerConnection::new(config).map_err(Refused::Tls)?;
        tls.set_buffer_limit(Some(SEALED_BYTES_MAX));
        let session = Session {
            tls: Box::new(tls),
            unconfirmed: 0,
            has_said_goodbye: false,
            failure: None,
        };
        let mut stream = Self { socket, session };
        let mut heard = Heard::default();
        let shaken = poll_fn(|cx| stream.poll_handshake(cx, &mut heard)).await;
        match shaken {
            Ok(()) => Ok(stream),
            Err(Refused::Tls(_)) if heard.is_text() => {
                answer_plain_http(stream.socket).await;
                Err(Refused::PlainHttp)
            }
            Err(refused) => {
                // rustls has queued the alert that says why; a peer that takes nothing misses it.
                poll_fn(|cx| Poll::Ready(stream.poll_send(cx).is_ready())).await;
                Err(refused)
            }
        }
    }

    fn poll_handshake(
        &mut self,
        cx: &mut Context<'_>,
        heard: &mut Heard,
    ) -> Poll<Result<(), Refused>> {
        loop {
            ready!(self.poll_send(cx)).map_err(Refused::Lost)?;
            if !self.session.tls.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            if heard.bytes >= HANDSHAKE_BYTES_MAX {
                return Poll::Ready(Err(Refused::TooLong));
            }
            let mut from = Waiting {
                socket: &mut self.socket,
                cx,
                heard: Some(heard),
            };
            match ready!(pending(self.session.tls.read_tls(&mut from))) {
                Ok(0) => return Poll::Ready(Err(Refused::Ended)),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(Refused::Lost(error))),
            }
            if let Err(error) = self.session.tls.process_new_packets() {
                return Poll::Ready(Err(Refused::Tls(error)));
            }
        }
    }

    /// Gives the socket everything that is encrypted.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.tls.wants_write() {
            let mut to = Waiting {
                socket: &mut self.socket,
                cx,
                heard: None,
            };
            if ready!(pending(self.session.tls.write_tls(&mut to)))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// One read of the socket, and what becomes of it.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(failure) = self.session.failure.take() {
            return Poll::Ready(Err(failure));
        }
        let mut from = Waiting {
            socket: &mut self.socket,
            cx,
            heard: None,
        };
        ready!(pending(self.session.tls.read_tls(&mut from)))?;
        let processed = self.session.tls.process_new_packets();
        Poll::Ready(match processed {
            Ok(_) => Ok(()),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        })
    }

    fn poll_write_slices(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let given = slices.iter().map(|slice| slice.len()).sum();
        if given == 0 {
            return Poll::Ready(Ok(0));
        }
        if self.session.unconfirmed == 0 {
            // Only an empty buffer takes as much as it may.
            ready!(self.poll_send(cx))?;
            self.session.unconfirmed = self.session.tls.writer().write_vectored(slices)?;
        }
        ready!(self.poll_send(cx))?;
        let written = self.session.unconfirmed.min(given);
        self.session.unconfirmed -= written;
        Poll::Ready(Ok(written))
    }
}

impl AsyncRead for TlsStream {
    /// A peer that leaves without a word reads as one that says goodbye first: HTTP requests and
    /// WebSocket messages tell by themselves whether they are whole.
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        // What rustls has to say by itself (tickets, new keys, alerts) leaves when it can. A socket
        // that takes nothing any more may still have something to read.
        let _ = stream.poll_send(cx);
        let before = buffer.filled().len();
        while buffer.remaining() > 0 {
            let read = stream
                .session
                .tls
                .reader()
                .read(buffer.initialize_unfilled());
            match read {
                Ok(0) => break,
                Ok(read) => {
                    buffer.advance(read);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Poll::Ready(Err(error)),
            }
            let has_some = buffer.filled().len() > before;
            match stream.poll_receive(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Pending if has_some => break,
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => {
                    // The alert that says why, if the peer takes it.
                    let _ = stream.poll_send(cx);
                    if has_some {
                        stream.session.failure = Some(error);
                        break;
                    }
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_slices(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_slices(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        ready!(stream.poll_send(cx))?;
        Pin::new(&mut stream.socket).poll_flush(cx)
    }

    /// Says goodbye in TLS, so that nobody can cut the end off unnoticed, then in TCP.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if !stream.session.has_said_goodbye {
            stream.session.has_said_goodbye = true;
            stream.session.tls.send_close_notify();
        }
        ready!(stream.poll_send(cx))?;
        Pin::new(&mut stream.socket).poll_shutdown(cx)
    }
}

impl AsRawFd for TlsStream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsRawFd for MovingTlsStream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Movable for TlsStream {
    const IS_PLAIN: bool = false;
    type Moving = MovingTlsStream;

    fn depart(self) -> io::Result<MovingTlsStream> {
        let Self { socket, session } = self;
        let socket = socket.into_std()?;
        Ok(MovingTlsStream { socket, session })
    }

    fn arrive(moving: MovingTlsStream) -> io::Result<Self> {
        let MovingTlsStream { socket, session } = moving;
        let socket = TcpStream::from_std(socket)?;
        Ok(Self { socket, session })
    }

    fn acknowledge(&self) {
        self.socket.acknowledge();
    }
}

/// What came before the handshake was done.
#[derive(Debug, Default)]
struct Heard {
    bytes: usize,
    first: Option<u8>,
}

impl Heard {
    fn add(&mut self, bytes: &[u8]) {
        self.first = self.first.or(bytes.first().copied());
        self.bytes += bytes.len();
    }

    /// The methods of HTTP are capital letters; no TLS record begins with one.
    fn is_text(&self) -> bool {
        self.first.is_some_and(|byte| byte.is_ascii_uppercase())
    }
}

/// A socket as rustls wants it: `WouldBlock` after the task was told when to come again.
struct Waiting<'a, 'b> {
    socket: &'a mut TcpStream,
    cx: &'a mut Context<'b>,
    heard: Option<&'a mut Heard>,
}

fn blocking<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

fn pending<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        other => Poll::Ready(other),
    }
}

impl Read for Waiting<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut read = ReadBuf::new(into);
        blocking(Pin::new(&mut *self.socket).poll_read(self.cx, &mut read))?;
        if let Some(heard) = &mut self.heard {
            heard.add(read.filled());
        }
        Ok(read.filled().len())
    }
}

impl Write for Waiting<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        blocking(Pin::new(&mut *self.socket).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        blocking(Pin::new(&mut *self.socket).poll_write_vectored(self.cx, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
