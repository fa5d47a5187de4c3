//! Starts, stops and kills the server under test, for scenarios that need it to die.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::bench::RunError;
use crate::client::target::Target;
use crate::usage::Process;

/// How long a server may take to open its port, or to stop when asked.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(1);

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Served {
    child: Child,
}

impl Served {
    /// Starts `command` (words split at spaces) and waits until its port is open. Returns the
    /// seconds that took.
    pub(crate) fn start(command: &str, target: &Target) -> Result<(Self, f64), RunError> {
        let failed = |why: String| RunError::Serve {
            command: command.to_owned(),
            why,
        };
        if target.is_open() {
            return Err(failed(format!(
                "something listens at {} already: stop it, or give another port in --url and --serve",
                target.address
            )));
        }
        let mut words = command.split_whitespace();
        let program = words
            .next()
            .ok_or_else(|| failed("it is empty".to_owned()))?;
        let begun = Instant::now();
        let child = Command::new(program)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let mut served = Self { child };
        while !target.is_open() {
            if let Ok(Some(status)) = served.child.try_wait() {
                return Err(failed(format!("{status}: run it by hand to see why")));
            }
            if begun.elapsed() > PATIENCE {
                return Err(failed(format!(
                    "{} did not open within {} s",
                    target.address,
                    PATIENCE.as_secs()
                )));
            }
            std::thread::sleep(POLL_EVERY);
        }
        Ok((served, begun.elapsed().as_secs_f64()))
    }

    pub(crate) fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        // An error means that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and the seconds until it was gone; killed when that takes too long.
    pub(crate) fn stop(mut self) -> f64 {
        let begun = Instant::now();
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        while let Ok(None) = self.child.try_wait() {
            if begun.elapsed() > PATIENCE {
                break;
            }
            std::thread::sleep(POLL_EVERY);
        }
        begun.elapsed().as_secs_f64()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
