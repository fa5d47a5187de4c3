//! Signals that stop the server: the first one gracefully, a second one at once.

use std::io;
use std::sync::mpsc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Which signal came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM, from an orchestrator or `kill`.
    Terminate,
    /// SIGINT, from Ctrl-C.
    Interrupt,
}

impl StopSignal {
    /// The exit code that shells expect of a process that a signal ended.
    pub fn exit_code(self) -> i32 {
        match self {
            Self::Terminate => 128 + 15,
            Self::Interrupt => 128 + 2,
        }
    }
}

/// Resolves once a stop was asked for; every clone hears of it, also late ones.
#[derive(Debug, Clone)]
pub struct StopRequest(watch::Receiver<Option<StopSignal>>);

impl StopRequest {
    /// Waits for the first signal. Cancellation-safe.
    pub async fn requested(&self) -> StopSignal {
        let mut receiver = self.0.clone();
        let arrived = receiver.wait_for(Option::is_some).await;
        match arrived.map(|signal| *signal) {
            Ok(Some(signal)) => signal,
            // The listener never ends before a signal came.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

/// From now on SIGHUP does not end the process. Who wants to hear of one listens for it.
pub fn outlast_hangup() -> io::Result<()> {
    signal(SignalKind::hangup()).map(drop)
}

/// Starts to listen for SIGTERM and SIGINT for the rest of the process: the first one resolves the
/// request, the second one ends the process at once.
pub fn listen() -> io::Result<StopRequest> {
    listen_with(|second| std::process::exit(second.exit_code()))
}

/// As [`listen`], with what a second signal does. It runs on a thread of its own, so that a server
/// whose threads are all stuck can still be stopped by hand.
fn listen_with(stop_at_once: impl FnOnce(StopSignal) + Send + 'static) -> io::Result<StopRequest> {
    let (first, request) = watch::channel(None);
    let (ready, started) = mpsc::channel();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(watch_signals(first, &ready, stop_at_once)),
                Err(error) => report(&ready, Err(error)),
            }
        })?;
    // A moment at most: the thread reports before it waits for anything.
    started.recv().map_err(io::Error::other)??;
    Ok(StopRequest(request))
}

type Ready = mpsc::Sender<io::Result<()>>;

/// Nobody is left to hear it only when the whole process ends.
fn report(ready: &Ready, outcome: io::Result<()>) {
    let _ = ready.send(outcome);
}

async fn watch_signals(
    first: watch::Sender<Option<StopSignal>>,
    ready: &Ready,
    stop_at_once: impl FnOnce(StopSignal),
) {
    let streams = signal(SignalKind::terminate())
        .and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)));
    let (mut terminate, mut interrupt) = match streams {
        Ok(streams) => streams,
        Err(error) => return report(ready, Err(error)),
    };
    report(ready, Ok(()));
    let asked = next(&mut terminate, &mut interrupt).await;
    tracing::info!(signal = ?asked, "stopping; a second signal stops at once");
    first.send_replace(Some(asked));
    let second = next(&mut terminate, &mut interrupt).await;
    tracing::warn!(signal = ?second, "stopped at once, before everything was written");
    stop_at_once(second);
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> StopSignal {
    tokio::select! {
        _ = terminate.recv() => StopSignal::Terminate,
        _ = interrupt.recv() => StopSignal::Interrupt,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    fn send(signal: &str) {
        let process = std::process::id().to_string();
        let sent = Command::new("kill").args([signal, &process]).status();
        assert!(sent.unwrap().success());
    }

    // One test: signals reach every listener of the process.
    #[tokio::test]
    async fn the_first_signal_asks_and_the_second_one_stops() {
        let (stopped, at_once) = mpsc::channel();
        let request = listen_with(move |signal| stopped.send(signal).unwrap()).unwrap();
        let patience = Duration::from_millis(20);
        let early = tokio::time::timeout(patience, request.requested()).await;
        assert!(early.is_err(), "nobody asked yet");

        send("-TERM");
        assert_eq!(request.requested().await, StopSignal::Terminate);
        let late = request.clone();
        assert_eq!(late.requested().await, StopSignal::Terminate);
        assert!(at_once.try_recv().is_err(), "one signal is graceful");

        send("-INT");
        let second = tokio::task::spawn_blocking(move || {
            at_once.recv_timeout(Duration::from_secs(30)).unwrap()
        });
        assert_eq!(second.await.unwrap(), StopSignal::Interrupt);
    }
}
