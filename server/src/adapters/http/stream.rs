//! A connection while it speaks HTTP: given up when its peer takes none of an answer, or does not come
//! to its next request.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_codec::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::admission::Place;
use crate::adapters::websocket::due_ms;

/// A stream until it leaves HTTP.
pub(in crate::adapters) struct HttpStream<I> {
    io: I,
    place: Rc<Place>,
    stall: Stall,
    /// For the next request.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<I> HttpStream<I> {
    /// Given up when its peer does not take an answer within this time and what the bytes that it took
    /// give it.
    pub(in crate::adapters) fn new(io: I, timeout_ms: u64) -> Self {
        Self {
            io,
            place: Rc::default(),
            stall: Stall {
                timeout_ms,
                waiting: None,
            },
            timer: None,
        }
    }

    /// What its requests know it by.
    pub(in crate::adapters) fn place(&self) -> Rc<Place> {
        self.place.clone()
    }

    /// It leaves HTTP, and its room there.
    pub(in crate::adapters) fn into_inner(self) -> I {
        self.place.leave();
        self.io
    }
}

/// How long what was to be written has waited for the peer.
#[derive(Debug)]
struct Stall {
    timeout_ms: u64,
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    /// What the peer took since.
    bytes: usize,
    timer: Pin<Box<Sleep>>,
}

impl Stall {
    /// The peer took some of what there was, or all.
    fn took(&mut self, bytes: usize, is_all: bool) {
        match &mut self.waiting {
            waiting if is_all => *waiting = None,
            Some(waiting) => waiting.bytes += bytes,
            None => {}
        }
    }

    /// The peer takes nothing now; an error once that has lasted.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let waiting = self.waiting.get_or_insert_with(|| {
            let since = Instant::now();
            Waiting {
                since,
                bytes: 0,
                timer: Box::pin(sleep_until(since)),
            }
        });
        let due = Duration::from_millis(due_ms(0, self.timeout_ms, waiting.bytes));
        let timer = &mut waiting.timer;
        timer.as_mut().reset(waiting.since + due);
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(io::Error::new(
            io::ErrorKind::TimedOut,
            "the peer does not take what it is answered",
        ))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for HttpStream<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(due) = this.place.next_request_due() else {
            return Pin::new(&mut this.io).poll_read(cx, into);
        };
        // What comes too late is not looked at, so that nobody stays by a byte now and then.
        if Instant::now() < due
            && let done @ Poll::Ready(_) = Pin::new(&mut this.io).poll_read(cx, into)
        {
            return done;
        }
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        timer.as_mut().reset(due);
        // To HTTP it is as if the peer had closed.
        timer.as_mut().poll(cx).map(Ok)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for HttpStream<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.io).poll_write(cx, bytes) {
            Poll::Ready(Ok(count)) => {
                this.stall.took(count, count == bytes.len());
                Poll::Ready(Ok(count))
            }
            Poll::Pending => this.stall.poll(cx).map(Err),
            failed @ Poll::Ready(Err(_)) => failed,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.io).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                this.stall.took(0, true);
                Poll::Ready(Ok(()))
            }
            Poll::Pending => this.stall.poll(cx).map(Err),
            failed @ Poll::Ready(Err(_)) => failed,
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.io).poll_shutdown(cx) {
            Poll::Pending => this.stall.poll(cx).map(Err),
            done @ Poll::Ready(_) => done,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn who_drips_its_next_request_is_not_heard_for_ever() {
        let (mut peer, io) = tokio::io::duplex(1_024);
        let mut stream = HttpStream::new(io, 300);
        let place = stream.place();
        peer.write_all(b"first").await.unwrap();
        let mut part = [0; 1];
        assert_eq!(stream.read(&mut part).await.unwrap(), 1);
        place.answered(Duration::from_millis(300));
        let drip = async {
            while peer.write_all(b".").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let listen = async { while stream.read(&mut part).await.unwrap() > 0 {} };
        tokio::select! {
            () = drip => panic!("the peer was not heard"),
            () = listen => {}
        }
        place.began();
        peer.write_all(b"more").await.unwrap();
        assert_eq!(stream.read(&mut part).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn an_answer_that_nobody_takes_is_given_up_and_one_that_is_taken_slowly_is_not() {
        let (mut peer, io) = tokio::io::duplex(1_024);
        let mut stream = HttpStream::new(io, 3_000);
        let answer = [7; 8 << 10];
        let read = async {
            let mut part = [0; 1_024];
            for _ in 0..8 {
                peer.read_exact(&mut part).await.unwrap();
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        let both = async { tokio::join!(stream.write_all(&answer), read) };
        let both = tokio::time::timeout(Duration::from_secs(30), both).await;
        both.unwrap().0.unwrap();
        let begun = Instant::now();
        let error = stream.write_all(&answer).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= Duration::from_secs(3));
    }
}
