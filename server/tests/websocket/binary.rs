//! The real binary over a folder of its own, for what only its settings and its log can show.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// Starts a server at a free port, in a folder of its own below this one.
pub(crate) fn serve(folder: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_driftless"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]);
    command.arg(folder.join("data")).args(flags);
    // Nothing of the machine's own settings may leak in.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DRIFTLESS_") {
            command.env_remove(name);
        }
    }
    command
}

/// Sends a process this signal.
pub(crate) fn signal(child: &Child, name: &str) {
    let process = child.id().to_string();
    let sent = Command::new("kill").args([name, &process]).status();
    assert!(sent.unwrap().success());
}

/// A running server process; killed when the test is done with it.
pub(crate) struct Binary {
    child: Child,
    pub(crate) address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
    _folder: tempfile::TempDir,
}

impl Binary {
    /// Starts it at a free port and waits until it says which.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = serve(folder.path(), flags);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut read = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut banner = read.by_ref().map(Result::unwrap);
        let address = banner.find_map(|line| {
            let (_, address) = line.split_once("clients  ")?;
            let (_, rest) = address.split_once("://")?;
            rest.split_once('/')?.0.parse().ok()
        });
        let address = address.expect("a banner with the address");
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let kept = lines.clone();
        // Reads on, so that the server never waits for us.
        std::thread::spawn(move || {
            for line in read.map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        Self {
            child,
            address,
            lines,
            _folder: folder,
        }
    }

    /// Sends it this signal.
    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Stops it in good order; all that it has written behind the address.
    pub(crate) fn stop(mut self) -> Vec<String> {
        self.signal("-TERM");
        assert!(self.child.wait().unwrap().success());
        // Its end of the pipe is closed: the rest is read in a moment.
        for _ in 0..100 {
            if Arc::strong_count(&self.lines) == 1 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        self.lines()
    }

    /// What it has written behind the address so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
