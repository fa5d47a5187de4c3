//! What happens in a sequence, one after the other: concrete enough to be stored and played again.

use std::fmt::Write as _;

use driftless::auth::Right;

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A socket is connected; what its request carries is written by the next step.
    Open {
        socket: usize,
        /// The document, where a socket has only one.
        document: String,
    },
    /// Bytes of a socket, with what they show and which answers they call for.
    Write {
        socket: usize,
        bytes: Vec<u8>,
        /// The peer shows this right for a document.
        shown: Vec<(String, Right)>,
        /// Addresses of updates that a provider counts, one each.
        counted: Vec<String>,
    },
    /// Time passes.
    Listen { ms: u64 },
    /// A socket writes nothing more, and still hears.
    Finish { socket: usize },
    /// A socket is gone without a word.
    Cut { socket: usize },
    /// An honest client of this document writes.
    HonestWrite { document: usize },
    /// An honest client of this document says that it is there, in presence and stateless messages.
    HonestPresence { document: usize },
    /// A call over HTTP, and what its token is worth.
    Call {
        request: Vec<u8>,
        shown: Vec<(String, Right)>,
    },
}

impl Step {
    /// Takes the rights that it shows for no more than this.
    pub(crate) fn believe(&mut self, most: Right) {
        if let Self::Write { shown, .. } | Self::Call { shown, .. } = self {
            shown
                .iter_mut()
                .for_each(|(_, right)| *right = most.min(*right));
        }
    }

    /// The step as one line of a stored sequence.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Open { socket, document } => format!("open {socket} {document}"),
            Self::Write {
                socket,
                bytes,
                shown,
                counted,
            } => {
                let counted: Vec<_> = counted
                    .iter()
                    .map(|address| hex(address.as_bytes()))
                    .collect();
                let (shown, counted) = (rights(shown), counted.join(","));
                format!(
                    "write {socket} {} shown:{shown} counted:{counted}",
                    hex(bytes)
                )
            }
            Self::Listen { ms } => format!("listen {ms}"),
            Self::Finish { socket } => format!("finish {socket}"),
            Self::Cut { socket } => format!("cut {socket}"),
            Self::HonestWrite { document } => format!("honest-write {document}"),
            Self::HonestPresence { document } => format!("honest-presence {document}"),
            Self::Call { request, shown } => {
                format!("call {} shown:{}", hex(request), rights(shown))
            }
        }
    }

    /// The step of a line; `None` for one that is none.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let words: Vec<_> = line.split(' ').collect();
        let number = |at: usize| words.get(at)?.parse::<usize>().ok();
        Some(match words[0] {
            "open" => Self::Open {
                socket: number(1)?,
                document: (*words.get(2)?).to_owned(),
            },
            "write" => Self::Write {
                socket: number(1)?,
                bytes: unhex(words.get(2)?)?,
                shown: read_rights(words.get(3)?)?,
                counted: listed(words.get(4)?.strip_prefix("counted:")?)
                    .map(|address| String::from_utf8(unhex(address)?).ok())
                    .collect::<Option<_>>()?,
            },
            "listen" => Self::Listen {
                ms: number(1)? as u64,
            },
            "finish" => Self::Finish { socket: number(1)? },
            "cut" => Self::Cut { socket: number(1)? },
            "honest-write" => Self::HonestWrite {
                document: number(1)?,
            },
            "honest-presence" => Self::HonestPresence {
                document: number(1)?,
            },
            "call" => Self::Call {
                request: unhex(words.get(1)?)?,
                shown: read_rights(words.get(2)?)?,
            },
            _ => return None,
        })
    }
}

fn rights(shown: &[(String, Right)]) -> String {
    let pairs = shown.iter().map(|(name, right)| format!("{name}={right}"));
    pairs.collect::<Vec<_>>().join(",")
}

fn read_rights(word: &str) -> Option<Vec<(String, Right)>> {
    let pairs = listed(word.strip_prefix("shown:")?).map(|pair| {
        let (name, right) = pair.split_once('=')?;
        Some((name.to_owned(), right.parse().ok()?))
    });
    pairs.collect()
}

fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|item| !item.is_empty())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = (0..text.len()).step_by(2);
    digits
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

#[test]
fn steps_are_stored_and_read_again() {
    let steps = [
        Step::Open {
            socket: 3,
            document: "a".to_owned(),
        },
        Step::Write {
            socket: 1,
            bytes: vec![0, 255],
            shown: vec![("a".to_owned(), Right::Read)],
            counted: vec!["a\0s".to_owned(), "b".to_owned()],
        },
        Step::Write {
            socket: 1,
            bytes: Vec::new(),
            shown: Vec::new(),
            counted: Vec::new(),
        },
        Step::Listen { ms: 4 },
        Step::Finish { socket: 0 },
        Step::Cut { socket: 0 },
        Step::HonestWrite { document: 1 },
        Step::HonestPresence { document: 1 },
        Step::Call {
            request: vec![1],
            shown: vec![("a".to_owned(), Right::None)],
        },
    ];
    for step in steps {
        assert_eq!(Step::read(&step.line()), Some(step));
    }
}
