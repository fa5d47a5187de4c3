//! A TCP link that can be cut, slowed, silenced, and that can lose messages of Redis.
//!
//! It is a proxy within this process: what connects to its port is carried to another port of
//! loopback under the conditions of the moment.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use crate::error::ClusterError;
use crate::resp::Lossy;

/// What is read at once.
const CHUNK_BYTES: usize = 16 * 1024;
/// Chunks under way in one direction; past them the sender waits, as on a full line.
const CHUNKS_MAX: usize = 64;

static RUNTIME: OnceLock<Handle> = OnceLock::new();

/// How a link behaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Connections end and new ones are turned away.
    pub is_cut: bool,
    /// Nothing passes and nothing ends.
    pub is_black_hole: bool,
    /// Every byte arrives so much later.
    pub latency: Duration,
    /// At most so many bytes pass, each way.
    pub bytes_per_second: Option<u32>,
    /// Of a thousand pub/sub messages of Redis so many vanish.
    pub lost_per_mille: u16,
}

/// A link to a port of loopback. It ends with this value.
#[derive(Debug)]
pub struct Link {
    port: u16,
    conditions: watch::Sender<Conditions>,
    task: AbortHandle,
}

impl Link {
    /// A link to `target`, in order.
    pub fn new(target: u16) -> Result<Self, ClusterError> {
        let failed = || ClusterError::io("open a link");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(failed())?;
        listener.set_nonblocking(true).map_err(failed())?;
        let port = listener.local_addr().map_err(failed())?.port();
        let runtime = runtime()?;
        let (conditions, told) = watch::channel(Conditions::default());
        let task = runtime.spawn(async move {
            // The listener is bound already; only the registration could fail.
            if let Ok(listener) = TcpListener::from_std(listener) {
                accept(listener, target, told).await;
            }
        });
        Ok(Self {
            port,
            conditions,
            task: task.abort_handle(),
        })
    }

    /// Where to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Behaves so from now on.
    pub fn set(&self, conditions: Conditions) {
        self.conditions.send_replace(conditions);
    }

    /// In order again.
    pub fn heal(&self) {
        self.set(Conditions::default());
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One thread carries all links.
fn runtime() -> Result<&'static Handle, ClusterError> {
    if let Some(handle) = RUNTIME.get() {
        return Ok(handle);
    }
    let built = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ClusterError::io("start the links"))?;
    let handle = built.handle().clone();
    let kept = RUNTIME.get_or_init(|| {
        std::thread::spawn(move || built.block_on(std::future::pending::<()>()));
        handle
    });
    Ok(kept)
}

async fn accept(listener: TcpListener, target: u16, conditions: watch::Receiver<Conditions>) {
    // Ends all its connections when it ends.
    let mut carried = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                carried.spawn(carry(stream, target, conditions.clone()));
            },
            Some(_) = carried.join_next() => {}
        }
    }
}

/// Carries one connection until both sides are done or the link is cut.
async fn carry(near: TcpStream, target: u16, conditions: watch::Receiver<Conditions>) {
    let mut cut = conditions.clone();
    tokio::select! {
        () = exchange(near, target, conditions) => {}
        _ = cut.wait_for(|now| now.is_cut) => {}
    }
}

async fn exchange(near: TcpStream, target: u16, mut conditions: watch::Receiver<Conditions>) {
    audible(&mut conditions).await;
    let address = SocketAddr::from(([127, 0, 0, 1], target));
    let Ok(far) = TcpStream::connect(address).await else {
        return;
    };
    // Small messages must not wait for each other: the only latency is the one that was asked for.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    tokio::join!(
        pump(near_in, far_out, conditions.clone(), false),
        pump(far_in, near_out, conditions, true),
    );
}

/// Waits while the link is silent.
async fn audible(conditions: &mut watch::Receiver<Conditions>) {
    // An error means that the link is gone, and this task with it.
    let _ = conditions.wait_for(|now| !now.is_black_hole).await;
}

/// Carries one direction.
async fn pump(
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    conditions: watch::Receiver<Conditions>,
    can_lose: bool,
) {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    tokio::join!(
        take(from, sender, conditions.clone(), can_lose),
        give(to, receiver, conditions),
    );
}

async fn take(
    mut from: OwnedReadHalf,
    chunks: mpsc::Sender<(Instant, Vec<u8>)>,
    mut conditions: watch::Receiver<Conditions>,
    can_lose: bool,
) {
    let mut lossy = Lossy::default();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        audible(&mut conditions).await;
        let length = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => length,
        };
        let (latency, lost) = {
            let now = conditions.borrow();
            (now.latency, now.lost_per_mille)
        };
        let chunk = if can_lose {
            lossy.pass(&buffer[..length], lost)
        } else {
            buffer[..length].to_vec()
        };
        if chunks
            .send((Instant::now() + latency, chunk))
            .await
            .is_err()
        {
            return;
        }
    }
}

async fn give(
    mut to: OwnedWriteHalf,
    mut chunks: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut conditions: watch::Receiver<Conditions>,
) {
    while let Some((due, chunk)) = chunks.recv().await {
        sleep_until(due).await;
        audible(&mut conditions).await;
        let rate = conditions.borrow().bytes_per_second;
        if let Some(rate) = rate {
            sleep(Duration::from_secs(1) * chunk.len() as u32 / rate.max(1)).await;
        }
        if to.write_all(&chunk).await.is_err() {
            return;
        }
    }
    audible(&mut conditions).await;
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// Answers every byte with itself.
    fn echo() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut byte = [0];
                    while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
                });
            }
        });
        port
    }

    fn connect(link: &Link) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", link.port())).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    }

    fn echoes(stream: &mut TcpStream) -> bool {
        let mut answer = [0];
        stream.write_all(b"x").is_ok() && stream.read_exact(&mut answer).is_ok() && answer == *b"x"
    }

    fn is_silent(stream: &mut TcpStream) -> bool {
        stream
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        !echoes(stream)
    }

    #[test]
    fn a_link_carries_and_is_cut_and_heals() {
        let link = Link::new(echo()).unwrap();
        let mut stream = connect(&link);
        assert!(echoes(&mut stream));
        link.set(Conditions {
            is_cut: true,
            ..Conditions::default()
        });
        assert!(is_silent(&mut stream));
        assert!(is_silent(&mut connect(&link)));
        link.heal();
        assert!(echoes(&mut connect(&link)));
    }

    #[test]
    fn a_silent_link_keeps_what_was_sent_for_later() {
        let link = Link::new(echo()).unwrap();
        let mut stream = connect(&link);
        assert!(echoes(&mut stream));
        link.set(Conditions {
            is_black_hole: true,
            ..Conditions::default()
        });
        assert!(is_silent(&mut stream));
        link.heal();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut answer = [0];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *b"x");
    }
}
