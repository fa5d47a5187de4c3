//! One process that can be killed, paused and started again: what all parts have in common.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::ClusterError;
use crate::{keeper, place};

/// A loaded machine may take its time; a part that needs longer is broken.
const READY_PATIENCE: Duration = Duration::from_secs(60);
/// A part that was asked to stop and did not is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(40);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A program that ends at once, because what it needs is away, is started again this often.
const START_AGAIN_EVERY: Duration = Duration::from_millis(300);

/// How long a health check waits for a connection, and for an answer.
const CHECK_TIMEOUT: Duration = Duration::from_millis(500);

/// A process of the cluster. Dropping it kills the process.
#[derive(Debug)]
pub struct Process {
    name: String,
    port: u16,
    log: PathBuf,
    child: Option<Child>,
    /// Set while the process is meant to be there.
    is_wanted: bool,
    is_paused: bool,
    starts: u32,
    unasked_ends: u32,
}

/// What each part of a cluster can do and suffer.
pub trait Part {
    /// Its process.
    fn process(&self) -> &Process;

    /// Its process, to be hurt.
    fn process_mut(&mut self) -> &mut Process;

    /// The command that starts it.
    fn command(&self) -> Result<Command, ClusterError>;

    /// Whether it does its work now; a quick look.
    fn is_ready(&self) -> bool;

    /// The signal that asks it to stop in good order.
    fn stop_signal(&self) -> Signal {
        Signal::TERM
    }

    /// Starts the process unless it runs, and does not wait for it.
    fn start(&mut self) -> Result<(), ClusterError> {
        if self.process_mut().is_running() {
            return Ok(());
        }
        let command = self.command()?;
        self.process_mut().spawn(command)
    }

    /// Waits until it does its work; starts it again if it ended because something else was away.
    fn wait_ready(&mut self) -> Result<(), ClusterError> {
        let begun = Instant::now();
        let mut started = begun;
        while !self.is_ready() {
            if begun.elapsed() > READY_PATIENCE {
                return Err(self.process().not_ready());
            }
            if started.elapsed() > START_AGAIN_EVERY {
                started = Instant::now();
                self.start()?;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Starts again what ended although nobody asked it to. Returns whether it had.
    fn revive(&mut self) -> Result<bool, ClusterError> {
        if !self.process().is_wanted || self.process_mut().is_running() {
            return Ok(false);
        }
        self.start()?;
        Ok(true)
    }

    /// `kill -9`.
    fn kill(&mut self) {
        self.process_mut().kill();
    }

    /// Stands still, with all its connections open (SIGSTOP).
    fn pause(&mut self) {
        self.process_mut().signal_all(Signal::STOP);
        self.process_mut().is_paused = true;
    }

    /// Goes on after a pause.
    fn resume(&mut self) {
        self.process_mut().signal_all(Signal::CONT);
        self.process_mut().is_paused = false;
    }

    /// Asks it to stop in good order, and does not wait.
    fn ask_to_stop(&mut self) {
        let signal = self.stop_signal();
        let process = self.process_mut();
        process.is_wanted = false;
        process.signal(signal);
    }

    /// Stops it in good order and waits; killed when that takes too long. Returns whether it ended by
    /// itself with success.
    fn stop(&mut self) -> bool {
        self.ask_to_stop();
        self.wait_stopped()
    }

    /// Waits for the end of what was asked to stop. A second question would mean "at once".
    fn wait_stopped(&mut self) -> bool {
        self.process_mut().wait_gone()
    }

    /// Stops it in good order and starts it again.
    fn restart(&mut self) -> Result<(), ClusterError> {
        self.stop();
        self.start()?;
        self.wait_ready()
    }

    /// Its address.
    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.process().port))
    }
}

impl Process {
    /// A process that does not run yet.
    pub(crate) fn new(name: impl Into<String>, port: u16, log: PathBuf) -> Self {
        Self {
            name: name.into(),
            port,
            log,
            child: None,
            is_wanted: false,
            is_paused: false,
            starts: 0,
            unasked_ends: 0,
        }
    }

    /// Its name within the cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port it listens at, which stays.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its output goes.
    pub fn log(&self) -> &std::path::Path {
        &self.log
    }

    /// Its number, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// How often it ended although nobody asked it to.
    pub fn unasked_ends(&self) -> u32 {
        self.unasked_ends
    }

    /// Whether the process is there, paused or not.
    pub fn is_running(&mut self) -> bool {
        let Some(child) = &mut self.child else {
            return false;
        };
        if matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        self.child = None;
        self.is_paused = false;
        if self.is_wanted {
            self.unasked_ends += 1;
        }
        false
    }

    /// Whether it stands still.
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// How often it was started.
    pub fn starts(&self) -> u32 {
        self.starts
    }

    fn spawn(&mut self, mut command: Command) -> Result<(), ClusterError> {
        let output = place::open_log(&self.log)?;
        let errors = output
            .try_clone()
            .map_err(ClusterError::io("open a log twice"))?;
        // A group of its own: Ctrl-C in a terminal is for us, and we end the parts in their order.
        command.stdout(output).stderr(errors).process_group(0);
        let started = keeper::spawn(command);
        self.child = Some(started.map_err(ClusterError::io(format!("start {}", self.name)))?);
        self.is_wanted = true;
        self.is_paused = false;
        self.starts += 1;
        Ok(())
    }

    fn kill(&mut self) {
        self.is_wanted = false;
        if let Some(mut child) = self.child.take() {
            // An error means that it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.is_paused = false;
    }

    fn wait_gone(&mut self) -> bool {
        let Some(mut child) = self.child.take() else {
            return false;
        };
        let begun = Instant::now();
        while begun.elapsed() < STOP_PATIENCE {
            match child.try_wait() {
                Ok(Some(status)) => return status.success(),
                Ok(None) => std::thread::sleep(LOOK_EVERY),
                Err(_) => return false,
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        false
    }

    fn signal(&self, signal: Signal) {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            // Gone already: nothing to tell.
            let _ = kill_process(pid, signal);
        }
    }

    /// Signals the process, then those it started: PostgreSQL works in one process a connection.
    fn signal_all(&self, signal: Signal) {
        self.signal(signal);
        let Some(pid) = self.pid() else {
            return;
        };
        let children = children_of(pid).into_iter();
        for child in children.filter_map(|child| i32::try_from(child).ok()) {
            if let Some(child) = Pid::from_raw(child) {
                let _ = kill_process(child, signal);
            }
        }
    }

    fn not_ready(&self) -> ClusterError {
        ClusterError::NotReady {
            part: self.name.clone(),
            seconds: READY_PATIENCE.as_secs(),
            log: self.log.clone(),
            tail: place::tail(&self.log),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The processes that `pid` started, by what the kernel lists for its main thread.
fn children_of(pid: u32) -> Vec<u32> {
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    listed
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// Sends `request` to a port of loopback and returns the first bytes of the answer.
pub(crate) fn ask(port: u16, request: &[u8]) -> Option<Vec<u8>> {
    use std::io::{Read, Write};
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, CHECK_TIMEOUT).ok()?;
    stream.set_read_timeout(Some(CHECK_TIMEOUT)).ok()?;
    stream.write_all(request).ok()?;
    let mut answer = vec![0; 256];
    let length = stream.read(&mut answer).ok()?;
    answer.truncate(length);
    Some(answer)
}
