//! When a socket has to do something without being asked: keep-alives, pings and deadlines.
//!
//! Pure: the time is an argument, in milliseconds since the server started. A socket has one timer,
//! which is moved only when it fires, never per frame.

/// The times of a socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// Send a message when none was sent for this long. Pings and pongs do not count: the watchdog of a
    /// page does not see them.
    pub(super) keepalive_ms: u64,
    /// Give a peer up that was silent for this long; it is pinged after half of it.
    pub(super) peer_timeout_ms: u64,
    /// Give a peer up that takes no byte of what waits for this long.
    pub(super) write_timeout_ms: u64,
    /// How long a closing socket waits for what it still has to say and for the peer to leave.
    pub(super) close_timeout_ms: u64,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing before this time.
    At(u64),
    /// Send the dialect's keep-alive.
    KeepAlive,
    /// Ping the peer, to tell silence from death.
    Ping,
    /// The peer answers nothing: close.
    PeerSilent,
    /// The peer takes nothing, or does not leave: end without another word.
    Overdue,
}

/// What the pump knows of itself when it asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation {
    /// Bytes wait that the peer does not take.
    pub(super) write_blocked: bool,
    /// The document is behind, so the peer's bytes are not read.
    pub(super) read_paused: bool,
}

/// When a socket last heard and said something.
#[derive(Debug)]
pub(super) struct Liveness {
    times: Times,
    heard_ms: u64,
    /// The peer's side took bytes.
    said_ms: u64,
    /// The same, and a message among them.
    told_ms: u64,
    /// A ping was sent since the peer was last heard.
    pinged: bool,
    closing_since_ms: Option<u64>,
}

impl Liveness {
    pub(super) fn new(times: Times, now_ms: u64) -> Self {
        Self {
            times,
            heard_ms: now_ms,
            said_ms: now_ms,
            told_ms: now_ms,
            pinged: false,
            closing_since_ms: None,
        }
    }

    /// Bytes came, or could not because reading is paused.
    pub(super) fn heard(&mut self, now_ms: u64) {
        self.heard_ms = now_ms;
        self.pinged = false;
    }

    /// Bytes were taken by the peer's side of the connection.
    pub(super) fn said(&mut self, now_ms: u64) {
        self.said_ms = self.said_ms.max(now_ms);
    }

    /// A message was taken by the peer's side.
    pub(super) fn told(&mut self, now_ms: u64) {
        self.told_ms = self.told_ms.max(now_ms);
        self.said(now_ms);
    }

    /// A ping was queued.
    pub(super) fn pinged(&mut self) {
        self.pinged = true;
    }

    /// The socket began to close.
    pub(super) fn closing(&mut self, now_ms: u64) {
        self.closing_since_ms.get_or_insert(now_ms);
    }

    /// The first thing that is due, or when to ask again.
    pub(super) fn due(&self, now_ms: u64, situation: Situation) -> Due {
        if let Some(since_ms) = self.closing_since_ms {
            return at(now_ms, since_ms + self.times.close_timeout_ms, Due::Overdue);
        }
        // A peer that takes nothing cannot be asked whether it lives: only the write deadline runs.
        if situation.write_blocked {
            return at(
                now_ms,
                self.said_ms + self.times.write_timeout_ms,
                Due::Overdue,
            );
        }
        let keepalive = at(
            now_ms,
            self.told_ms + self.times.keepalive_ms,
            Due::KeepAlive,
        );
        if situation.read_paused {
            return keepalive;
        }
        let peer = if self.pinged {
            at(
                now_ms,
                self.heard_ms + self.times.peer_timeout_ms,
                Due::PeerSilent,
            )
        } else {
            at(
                now_ms,
                self.heard_ms + self.times.peer_timeout_ms / 2,
                Due::Ping,
            )
        };
        match (peer, keepalive) {
            (Due::At(peer_ms), Due::At(keepalive_ms)) => Due::At(peer_ms.min(keepalive_ms)),
            (Due::At(_), keepalive) => keepalive,
            (peer, _) => peer,
        }
    }
}

fn at(now_ms: u64, due_ms: u64, due: Due) -> Due {
    if now_ms >= due_ms {
        due
    } else {
        Due::At(due_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times {
        keepalive_ms: 20,
        peer_timeout_ms: 60,
        write_timeout_ms: 300,
        close_timeout_ms: 10,
    };
    const OPEN: Situation = Situation {
        write_blocked: false,
        read_paused: false,
    };
    const BLOCKED: Situation = Situation {
        write_blocked: true,
        read_paused: false,
    };
    const PAUSED: Situation = Situation {
        write_blocked: false,
        read_paused: true,
    };

    #[test]
    fn a_quiet_socket_keeps_alive_then_pings_then_gives_up() {
        let mut socket = Liveness::new(TIMES, 0);
        assert_eq!(socket.due(0, OPEN), Due::At(20));
        assert_eq!(socket.due(20, OPEN), Due::KeepAlive);
        socket.told(20);
        assert_eq!(socket.due(20, OPEN), Due::At(30));
        assert_eq!(socket.due(31, OPEN), Due::Ping);
        socket.pinged();
        socket.said(31);
        assert_eq!(socket.due(31, OPEN), Due::At(40), "a ping is no message");
        socket.told(59);
        assert_eq!(socket.due(59, OPEN), Due::At(60));
        assert_eq!(socket.due(60, OPEN), Due::PeerSilent);
        socket.heard(60);
        assert_eq!(socket.due(60, OPEN), Due::At(79));
    }

    #[test]
    fn a_peer_that_takes_nothing_is_given_the_write_deadline() {
        let mut socket = Liveness::new(TIMES, 0);
        assert_eq!(socket.due(299, BLOCKED), Due::At(300));
        assert_eq!(socket.due(300, BLOCKED), Due::Overdue);
        socket.said(250);
        assert_eq!(socket.due(300, BLOCKED), Due::At(550));
    }

    #[test]
    fn silence_does_not_count_while_the_peer_is_not_read() {
        let mut socket = Liveness::new(TIMES, 0);
        socket.told(990);
        assert_eq!(socket.due(1_000, PAUSED), Due::At(1_010));
        assert_eq!(socket.due(1_010, PAUSED), Due::KeepAlive);
    }

    #[test]
    fn closing_is_bounded_whatever_the_peer_does() {
        let mut socket = Liveness::new(TIMES, 0);
        socket.closing(100);
        socket.closing(105);
        socket.heard(109);
        socket.said(109);
        assert_eq!(socket.due(109, OPEN), Due::At(110));
        assert_eq!(socket.due(110, BLOCKED), Due::Overdue);
    }
}
