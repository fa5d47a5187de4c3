//! What is told while long work goes on: a bar on a terminal, a line now and then elsewhere.

use std::io::Write;
use std::time::{Duration, Instant};

/// How often a bar is drawn again, and how often a line is written where nobody can draw.
const BAR_INTERVAL: Duration = Duration::from_millis(100);
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// The bar's length in characters; with the text behind it a line of a terminal is not full.
const BAR_LENGTH: u64 = 20;

/// Back to the start of the line, and away with what is on it.
const CLEAR: &str = "\r\x1b[K";

/// Where it is told.
pub(super) struct Watch<'a> {
    pub(super) errors: &'a mut dyn Write,
    pub(super) is_terminal: bool,
}

/// How far the work is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    /// The part that is done, in hundredths.
    pub(super) percent: u64,
    /// The rest of the line.
    pub(super) text: String,
}

impl Standing {
    pub(super) fn percent(done: u64, total: u64) -> u64 {
        match total {
            0 => 0,
            total => (done.min(total) as f64 * 100.0 / total as f64) as u64,
        }
    }
}

/// Does the work, and tells how far it is. Whoever read that may go; the work goes on.
pub(super) async fn watched<T>(
    work: impl Future<Output = T>,
    standing: impl Fn(Duration) -> Standing,
    watch: Watch<'_>,
) -> T {
    tokio::pin!(work);
    let begun = Instant::now();
    let interval = match watch.is_terminal {
        true => BAR_INTERVAL,
        false => LINE_INTERVAL,
    };
    let mut ticks = tokio::time::interval(interval);
    ticks.tick().await;
    let mut has_bar = false;
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            _ = ticks.tick() => {
                let line = line(&standing(begun.elapsed()), watch.is_terminal);
                let _ = watch.errors.write_all(line.as_bytes());
                let _ = watch.errors.flush();
                has_bar = watch.is_terminal;
            }
        }
    };
    if has_bar {
        let _ = watch.errors.write_all(CLEAR.as_bytes());
    }
    done
}

fn line(standing: &Standing, is_terminal: bool) -> String {
    let Standing { percent, text } = standing;
    if !is_terminal {
        return format!("{percent:>3}%  {text}\n");
    }
    let full = (percent * BAR_LENGTH / 100).min(BAR_LENGTH);
    let bar = |from: u64, to: u64, with: &str| with.repeat((to - from) as usize);
    let bar = bar(0, full, "█") + &bar(full, BAR_LENGTH, "░");
    format!("{CLEAR}{bar} {percent:>3}%  {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_a_bar_and_a_file_gets_lines() {
        let at = |percent| Standing {
            percent,
            text: "text".to_owned(),
        };
        assert_eq!(line(&at(7), false), "  7%  text\n");
        let bar = line(&at(50), true);
        assert!(bar.starts_with(CLEAR) && !bar.ends_with('\n'), "{bar:?}");
        assert_eq!(bar.matches('█').count(), 10, "{bar}");
        assert_eq!(bar.matches('░').count(), 10, "{bar}");
        assert_eq!(line(&at(100), true).matches('░').count(), 0);
    }

    #[test]
    fn percents_are_of_the_whole_and_never_more() {
        let table = [(0, 0, 0), (1, 3, 33), (3, 3, 100), (9, 3, 100)];
        for (done, total, wanted) in table {
            assert_eq!(Standing::percent(done, total), wanted);
        }
        assert_eq!(Standing::percent(u64::MAX, u64::MAX), 100);
    }
}
