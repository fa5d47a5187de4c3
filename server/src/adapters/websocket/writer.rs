//! Writes all frames that wait for a socket with as few calls as possible.
//!
//! One write per frame and receiver is what bounds a relay, not the protocol. Small frames are
//! gathered into one buffer (a copy of a hundred bytes costs less than one more slice in the
//! kernel), large ones are written from where they lie, and both go out in one vectored write.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use crate::outbox::Written;

/// Frames up to this many bytes are copied together.
const SMALL_BYTES_MAX: usize = 2 * 1024;
/// Bytes that are gathered for one write, per thread.
const GATHER_BYTES_MAX: usize = 64 * 1024;
/// Slices of one vectored write; the kernel's own bound is 1,024.
const SLICES_MAX: usize = 64;

thread_local! {
    /// Where small frames are gathered: used within one call only, so one per thread is enough.
    static GATHERED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Frames on their way out, in order.
#[derive(Debug, Default)]
pub(super) struct FrameWriter {
    pub(super) frames: VecDeque<Bytes>,
    /// Bytes of the first frame that are written already.
    offset: usize,
}

impl FrameWriter {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Forgets everything that was not written.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Writes once as much as one call takes. Must not be called when there is nothing to write.
    pub(super) fn poll_write(
        &mut self,
        io: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Written>> {
        let bytes = if self.frames.len() == 1 {
            let rest = self
                .frames
                .front()
                .map_or(&[][..], |frame| &frame[self.offset..]);
            ready!(io.poll_write(cx, rest))?
        } else {
            ready!(GATHERED.with_borrow_mut(|gathered| self.poll_gathered(gathered, io, cx)))?
        };
        if bytes == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        Poll::Ready(Ok(self.advance(bytes)))
    }

    fn poll_gathered(
        &self,
        gathered: &mut Vec<u8>,
        io: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let taken = self.gather(gathered);
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let (mut count, mut from, mut to) = (0, 0, 0);
        for part in self.parts().take(taken) {
            if part.len() <= SMALL_BYTES_MAX {
                to += part.len();
                continue;
            }
            if to > from {
                slices[count] = IoSlice::new(&gathered[from..to]);
                (count, from) = (count + 1, to);
            }
            slices[count] = IoSlice::new(part);
            count += 1;
        }
        if to > from {
            slices[count] = IoSlice::new(&gathered[from..to]);
            count += 1;
        }
        io.poll_write_vectored(cx, &slices[..count])
    }

    /// Copies the small frames among those that fit one write; returns how many frames fit.
    fn gather(&self, gathered: &mut Vec<u8>) -> usize {
        gathered.clear();
        // Each large frame needs at most two slices: its own and that of the run before it.
        let mut slices = 1;
        for (index, part) in self.parts().enumerate() {
            if part.len() > SMALL_BYTES_MAX {
                slices += 2;
                if slices > SLICES_MAX {
                    return index;
                }
            } else {
                if gathered.len() + part.len() > GATHER_BYTES_MAX {
                    return index;
                }
                gathered.extend_from_slice(part);
            }
        }
        self.frames.len()
    }

    /// The unwritten bytes of each frame.
    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let mut offset = self.offset;
        self.frames
            .iter()
            .map(move |frame| &frame[std::mem::take(&mut offset)..])
    }

    fn advance(&mut self, bytes: usize) -> Written {
        let mut written = Written { bytes, frames: 0 };
        self.offset += bytes;
        while let Some(frame) = self.frames.front() {
            if self.offset < frame.len() {
                break;
            }
            self.offset -= frame.len();
            self.frames.pop_front();
            written.frames += 1;
        }
        written
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Takes at most `step` bytes a call, without being asked to wait.
    struct Trickle {
        step: usize,
        taken: Vec<u8>,
        calls: usize,
    }

    impl AsyncWrite for Trickle {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.calls += 1;
            let step = self.step;
            let before = self.taken.len();
            for slice in slices {
                let room = step - (self.taken.len() - before);
                self.taken
                    .extend_from_slice(&slice[..slice.len().min(room)]);
            }
            Poll::Ready(Ok(self.taken.len() - before))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn write_all(sizes: &[usize], step: usize) -> (usize, usize) {
        let mut writer = FrameWriter::default();
        let mut wanted = Vec::new();
        for (index, &size) in sizes.iter().enumerate() {
            let frame = vec![index as u8; size];
            wanted.extend_from_slice(&frame);
            writer.frames.push_back(frame.into());
        }
        let mut io = Trickle {
            step,
            taken: Vec::new(),
            calls: 0,
        };
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut frames = 0;
        while !writer.is_empty() {
            let Poll::Ready(written) = writer.poll_write(Pin::new(&mut io), &mut cx) else {
                panic!("a trickle never waits");
            };
            frames += written.unwrap().frames;
        }
        assert_eq!(io.taken, wanted, "{sizes:?} in steps of {step}");
        (frames, io.calls)
    }

    #[test]
    fn every_byte_is_written_in_order_however_little_is_taken_at_a_time() {
        let mixes: &[&[usize]] = &[
            &[5],
            &[5, 6, 7],
            &[SMALL_BYTES_MAX, SMALL_BYTES_MAX + 1, 3],
            &[9_000, 1, 9_000, 1, 9_000],
            &[200_000, 10, 10],
            &[10, 10, 200_000],
        ];
        for sizes in mixes {
            for step in [1, 7, 4_096, usize::MAX] {
                assert_eq!(write_all(sizes, step).0, sizes.len());
            }
        }
    }

    #[test]
    fn many_small_frames_leave_in_one_call_and_large_ones_with_them() {
        assert_eq!(write_all(&[40; 1_000], usize::MAX), (1_000, 1));
        assert_eq!(
            write_all(&[40, 40, 100_000, 40, 70_000], usize::MAX),
            (5, 1)
        );
        assert_eq!(
            write_all(&[3_000; 100], usize::MAX).1,
            4,
            "bounded slices a call"
        );
    }
}
