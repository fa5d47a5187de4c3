//! The thread that starts all processes: the kernel ends a process with the thread that started it,
//! so that thread lives as long as this process does.

use std::process::{Child, Command};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};

type Order = (Command, mpsc::Sender<std::io::Result<Child>>);

static KEEPER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();

/// Starts a command from the keeper thread.
pub(crate) fn spawn(command: Command) -> std::io::Result<Child> {
    let (answer, answered) = mpsc::channel();
    let keeper = KEEPER.get_or_init(|| Mutex::new(start()));
    let gone = || std::io::Error::other("the thread that starts processes is gone");
    keeper
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, answer))
        .map_err(|_| gone())?;
    answered.recv().map_err(|_| gone())?
}

fn start() -> mpsc::Sender<Order> {
    let (orders, waiting) = mpsc::channel::<Order>();
    std::thread::spawn(move || {
        for (mut command, answer) in waiting {
            // Who asked may be gone; then the child goes with the answer.
            let _ = answer.send(command.spawn());
        }
    });
    orders
}
