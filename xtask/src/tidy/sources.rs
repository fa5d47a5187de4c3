//! What the text of a file must hold, and must not.

use super::SourceFile;

/// The hard limit; about 300 is usual.
const LINES_MAX: usize = 500;

/// The first lines in which a file says what it is for.
const HEADER_WITHIN: usize = 3;

/// A string that code may hold only in some places.
struct Confined {
    text: &'static str,
    /// Where the rule looks: paths that start so.
    within: &'static str,
    /// Where the string is at home, below `within`: paths that start so.
    home: &'static [&'static str],
    reason: &'static str,
}

/// The invariants of `ARCHITECTURE.md` that can be read off the text. Comments do not count.
const CONFINED: [Confined; 14] = [
    Confined {
        text: "yrs::",
        within: "proto/",
        home: &[
            "proto/src/admission",
            "proto/src/engine",
            "proto/src/testing",
            "proto/tests/",
            "proto/fuzz/",
            "proto/examples/",
        ],
        reason: "only admission and the engine touch the CRDT",
    },
    Confined {
        text: "yrs::",
        within: "server/",
        home: &["server/tests/"],
        reason: "the server holds replicas through the engine",
    },
    Confined {
        text: "actix::",
        within: "server/",
        home: &["server/src/actors"],
        reason: "only documents and their supervisor are actors",
    },
    Confined {
        text: "Instant::now",
        within: "proto/src/",
        home: &[],
        reason: "time is an argument",
    },
    Confined {
        text: "SystemTime::now",
        within: "proto/src/",
        home: &[],
        reason: "time is an argument",
    },
    Confined {
        text: "env::var",
        within: "proto/src/",
        home: &[],
        reason: "the protocol has no environment",
    },
    Confined {
        text: "env::var",
        within: "server/src/",
        home: &[
            "server/src/config/environment.rs",
            "server/src/config/tests.rs",
            // A test that starts itself again as the process to kill.
            "server/src/store/sqlite/tests/",
        ],
        reason: "settings come from one place",
    },
    Confined {
        text: "unbounded",
        within: "server/src/",
        home: &[],
        reason: "every queue has a bound",
    },
    Confined {
        text: "StateVector",
        within: "server/src/adapters/",
        home: &[],
        reason: "an adapter translates and forwards",
    },
    Confined {
        text: "state_vector",
        within: "server/src/adapters/",
        home: &[],
        reason: "an adapter translates and forwards",
    },
    Confined {
        text: "Session",
        within: "server/src/store/",
        home: &[],
        reason: "a store never sees a session",
    },
    Confined {
        text: "Session",
        within: "server/src/bus/",
        home: &[],
        reason: "a bus never sees a session",
    },
    Confined {
        text: "#[ignore",
        within: "",
        home: &[],
        reason: "a test that does not run proves nothing",
    },
    Confined {
        text: "process::exit",
        within: "server/src/",
        home: &["server/src/main.rs", "server/src/signals.rs"],
        reason: "only the top level ends the process",
    },
];

/// Marks of unfinished work; spelled in halves, so that this file passes its own check.
const UNFINISHED: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

/// Hosts of package registries: lock files are written without them, so that mirrors work.
const REGISTRY_HOSTS: [&str; 5] = [
    concat!("registry.", "npmjs.org"),
    concat!("registry.", "yarnpkg.com"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("deb.", "debian.org"),
];

/// Loopback, "any", broadcast, the three ranges for documentation (RFC 5737) and two ranges of
/// every textbook. What ends in a dot is the start of a range.
const ADDRESSES_ALLOWED: [&str; 8] = [
    "127.",
    "0.0.0.0",
    "255.255.255.255",
    "192.0.2.",
    "198.51.100.",
    "203.0.113.",
    "10.0.0.",
    "192.168.0.",
];

/// Findings about the text of files.
pub(super) fn check(files: &[SourceFile]) -> Vec<String> {
    files.iter().flat_map(check_file).collect()
}

fn check_file(file: &SourceFile) -> Vec<String> {
    let mut findings = Vec::new();
    if is_generated(&file.path) {
        return findings;
    }
    let path = &file.path;
    if is_code(path) {
        let lines = file.text.lines().count();
        if lines > LINES_MAX {
            findings.push(format!("{path}: {lines} lines, the limit is {LINES_MAX}"));
        }
        if !has_header(file) {
            findings.push(format!(
                "{path}: does not open with a sentence on what it is for"
            ));
        }
    }
    for (index, line) in file.text.lines().enumerate() {
        let place = format!("{path}:{}", index + 1);
        findings.extend(check_line(&place, line));
        if is_code(path) {
            findings.extend(confined(path, line).map(|reason| format!("{place}: {reason}")));
        }
    }
    findings
}

/// Written by tools, read by tools.
fn is_generated(path: &str) -> bool {
    path.ends_with("package-lock.json") || path == "Cargo.lock"
}

fn is_code(path: &str) -> bool {
    [".rs", ".ts", ".tsx", ".js", ".mjs"]
        .iter()
        .any(|ending| path.ends_with(ending))
}

fn has_header(file: &SourceFile) -> bool {
    let starts: &[&str] = if file.path.ends_with(".rs") {
        &["//!"]
    } else {
        &["//", "/*"]
    };
    let mut first = file.text.lines().take(HEADER_WITHIN);
    first.any(|line| starts.iter().any(|start| line.starts_with(start)))
}

fn check_line(place: &str, line: &str) -> Vec<String> {
    let mut findings = Vec::new();
    if let Some(mark) = UNFINISHED.iter().find(|mark| has_word(line, mark)) {
        findings.push(format!("{place}: {mark} marks unfinished work"));
    }
    if let Some(host) = REGISTRY_HOSTS.iter().find(|host| line.contains(**host)) {
        findings.push(format!("{place}: names the registry host {host}"));
    }
    let addresses = ipv4_addresses(line);
    findings.extend(addresses.map(|address| format!("{place}: names the machine {address}")));
    findings
}

/// The reason why this line must not be in this file.
fn confined(path: &str, line: &str) -> Option<&'static str> {
    let code = line.trim_start();
    if code.starts_with("//") || path.starts_with("xtask/") {
        return None;
    }
    let applies = |rule: &&Confined| {
        path.starts_with(rule.within)
            && !rule.home.iter().any(|home| path.starts_with(home))
            && has_path(code, rule.text)
    };
    CONFINED.iter().find(applies).map(|rule| rule.reason)
}

/// True when `text` occurs and does not continue a longer identifier to its left.
fn has_path(line: &str, text: &str) -> bool {
    line.match_indices(text)
        .any(|(at, _)| !line[..at].ends_with(is_identifier))
}

/// True when `word` occurs by itself.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(is_identifier) && !line[at + word.len()..].starts_with(is_identifier)
    })
}

fn is_identifier(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Four numbers below 256 with dots between them, unless they are allowed.
fn ipv4_addresses(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split(|character: char| !(character.is_alphanumeric() || character == '.'));
    words
        .map(|word| word.trim_matches('.'))
        .filter(|word| word.parse::<std::net::Ipv4Addr>().is_ok() && !is_allowed_address(word))
}

fn is_allowed_address(word: &str) -> bool {
    let allows =
        |allowed: &&str| word == *allowed || (allowed.ends_with('.') && word.starts_with(*allowed));
    ADDRESSES_ALLOWED.iter().any(allows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> usize {
        check_file(&SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        })
        .len()
    }

    #[test]
    fn code_opens_with_a_sentence_and_stays_short() {
        assert_eq!(findings("a.rs", "//! Adds.\n"), 0);
        assert_eq!(findings("a.rs", "\n\n\n//! Adds.\n"), 1);
        assert_eq!(findings("a.ts", "/** Adds. */\n"), 0);
        assert_eq!(findings("a.ts", "const a = 1\n"), 1);
        assert_eq!(findings("a.md", "No header here.\n"), 0);
        assert_eq!(
            findings(
                "a.rs",
                &format!("//! Long.\n{}", "\n".repeat(LINES_MAX - 1))
            ),
            0
        );
        assert_eq!(
            findings("a.rs", &format!("//! Long.\n{}", "\n".repeat(LINES_MAX))),
            1
        );
    }

    #[test]
    fn what_is_confined_stays_at_home() {
        let line = |path, code: &str| findings(path, &format!("//! Does.\n{code}\n"));
        assert_eq!(line("proto/src/engine/replica.rs", "use yrs::Doc;"), 0);
        assert_eq!(line("proto/src/wire/lib0.rs", "use yrs::Doc;"), 1);
        assert_eq!(
            line("proto/src/wire/lib0.rs", "// yrs::Doc would not do"),
            0
        );
        assert_eq!(
            line("proto/src/wire/lib0.rs", "    let d = yrs::Doc::new();"),
            1
        );
        assert_eq!(line("server/src/app.rs", "use actix::Addr;"), 1);
        assert_eq!(line("server/src/app.rs", "use actix_web::App;"), 0);
        assert_eq!(line("server/src/actors/document.rs", "use actix::Addr;"), 0);
        assert_eq!(line("proto/src/name.rs", "let now = Instant::now();"), 1);
        assert_eq!(line("server/src/app.rs", "let now = Instant::now();"), 0);
        assert_eq!(
            line("server/src/app.rs", "let a = std::env::var(\"A\");"),
            1
        );
        assert_eq!(
            line(
                "server/src/config/environment.rs",
                "let a = std::env::var(\"A\");"
            ),
            0
        );
        assert_eq!(
            line("server/src/store/mod.rs", "fn x(session: SessionHandle)"),
            1
        );
    }

    #[test]
    fn unfinished_work_and_machines_are_found_in_every_file() {
        assert_eq!(findings("a.md", concat!("TO", "DO: write")), 1);
        assert_eq!(findings("a.md", concat!("MAS", "TO", "DON")), 0);
        assert_eq!(findings("a.md", concat!("see 10.1", ".2.3:80")), 1);
        assert_eq!(
            findings("a.md", "listens on 127.0.0.1:8080, refuses 192.0.2.7"),
            0
        );
        assert_eq!(findings("a.md", "version 1.2.3"), 0);
        assert_eq!(
            findings("a.md", concat!("https://registry.", "npmjs.org/yjs")),
            1
        );
        assert_eq!(findings("package-lock.json", concat!("TO", "DO")), 0);
    }
}
