//! Writes what was measured as a page for people, with a picture beside it.

use std::fmt::Write as _;
use std::path::Path;

use crate::cli::ROUNDS_DEFAULT;

use super::growth::{AXES, Growth, SIZES};
use super::questions::{Better, Figure, QUESTIONS};
use super::servers::Server;
use super::{Results, median, picture};

/// Writes the page and its picture, which has the same name with the ending `svg`.
pub(super) fn write(path: &Path, results: &Results) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let picture = path.with_extension("svg");
    std::fs::write(&picture, picture::draw(results))?;
    let picture = picture.file_name().unwrap_or_default().to_string_lossy();
    std::fs::write(path, text(results, &picture))
}

fn text(results: &Results, picture: &str) -> String {
    let mut page = String::new();
    let rounds = results.rounds;
    let rounds_flag = if rounds == ROUNDS_DEFAULT {
        String::new()
    } else {
        format!(" --rounds {rounds}")
    };
    let _ = write!(
        page,
        "# Benchmarks\n\n\
         One command measures this server beside others and writes this page and its picture:\n\n\
         ```\ncargo run --release -p loadtest -- peers{rounds_flag}\n```\n\n\
         Every server runs with its own defaults, pinned to one CPU; the generator has the next one. \
         An *edit* is one typed character, about 25 bytes; a *delivery* is one edit that reaches one \
         client other than its writer, alone or in a merged frame. Latency runs from the moment an \
         edit was due. Figures are medians of {rounds} rounds (with one: of a single run) in which the \
         servers take turns; idle connections, documents, the long text, cursors and the restart are \
         measured once. Machines differ: \
         compare the columns, not the absolute values.\n\n\
         Measured on {}.\n\n![The servers side by side]({picture})\n\n",
        results.machine
    );
    for (number, question) in QUESTIONS.iter().enumerate() {
        let _ = write!(page, "## {}\n\n", question.title);
        header(&mut page, &results.servers);
        for (at, figure) in question.figures.iter().enumerate() {
            row(&mut page, results, (number, at), figure);
        }
        page.push('\n');
    }
    foot(&mut page, results);
    if let Some(growth) = &results.growth {
        write_growth(&mut page, growth);
    }
    page
}

fn header(page: &mut String, servers: &[(Server, Option<String>)]) {
    page.push_str("| |");
    for (server, _) in servers {
        let _ = write!(page, " {} |", server.name);
    }
    page.push_str("\n|---|");
    for _ in servers {
        page.push_str("---:|");
    }
    page.push('\n');
}

/// One figure of all servers, the best real one in bold. The relay only bounds the others.
fn row(page: &mut String, results: &Results, (question, at): (usize, usize), figure: &Figure) {
    let values: Vec<Option<f64>> = (0..results.servers.len())
        .map(|column| median(results.measured.get(&(question, at, column))?))
        .collect();
    let real = results.servers.iter().zip(&values);
    let real = real.filter(|((server, _), _)| server.holds_documents);
    let best = real
        .filter_map(|(_, value)| *value)
        .reduce(|left, right| match figure.better {
            Better::Less => left.min(right),
            Better::More => left.max(right),
        });
    let _ = write!(page, "| {}, {} |", figure.label, figure.unit);
    for ((server, missing), value) in results.servers.iter().zip(values) {
        let shown = match value {
            Some(value) if server.holds_documents && Some(value) == best => {
                format!("**{}**", number(value, figure.decimals))
            }
            Some(value) => number(value, figure.decimals),
            None if missing.is_some() => "missing".to_owned(),
            None => "–".to_owned(),
        };
        let _ = write!(page, " {shown} |");
    }
    page.push('\n');
}

/// What the columns are, what is missing, and what a run said against its own figures.
fn foot(page: &mut String, results: &Results) {
    page.push_str("## The servers\n\n");
    for (server, missing) in &results.servers {
        let _ = writeln!(page, "- **{}**: {}.", server.name, server.about);
        if let Some(why) = missing {
            let _ = writeln!(page, "  It is missing here: {why}");
        }
    }
    page.push('\n');
    if !results.warnings.is_empty() {
        page.push_str("## What the runs complained of\n\n");
        for (server, question, warning) in &results.warnings {
            let _ = writeln!(page, "- {server}, {question}: {warning}");
        }
        page.push('\n');
    }
}

fn write_growth(page: &mut String, growth: &Growth) {
    page.push_str("## How cost grows\n\nThis server alone, at sizes from 10 to 10,000.\n\n| |");
    for size in SIZES {
        let _ = write!(page, " {} |", number(size as f64, 0));
    }
    page.push_str("\n|---|---:|---:|---:|---:|\n");
    for (axis, figures) in AXES.iter().zip(&growth.figures) {
        let _ = write!(page, "| {}, {} |", axis.title, axis.unit);
        for figure in figures {
            let shown = figure.map_or("–".to_owned(), |value| number(value, 2));
            let _ = write!(page, " {shown} |");
        }
        page.push('\n');
    }
    page.push('\n');
    for axis in AXES {
        let _ = writeln!(page, "- {}: {}", axis.title, axis.bound_by);
    }
    if let [Some(one), Some(two)] = growth.one_and_two_cpus {
        let _ = write!(
            page,
            "\nWith a second CPU, which it shares with the generator, the saturating load goes from \
             {} to {} deliveries/s. The server then takes {:.0} % of a CPU and the generator {:.0} %; \
             for each second of its CPU time the server delivers {:.2} times as many as on one CPU. \
             More cores carry more documents: each is placed, with its sockets, on the thread that \
             has the fewest; a single document stays on one.\n",
            number(one.deliveries_per_s, 0),
            number(two.deliveries_per_s, 0),
            two.server_cpu_percent,
            two.generator_cpu_percent,
            two.per_cpu_second() / one.per_cpu_second()
        );
    }
}

/// A number with its thousands apart.
pub(super) fn number(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, format!(".{fraction}")),
        None => (text.as_str(), String::new()),
    };
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + &fraction
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::Measured;
    use super::super::servers::SERVERS;
    use super::*;

    #[test]
    fn the_best_real_server_is_bold_and_a_missing_one_is_named() {
        let mut measured = Measured::new();
        measured.insert((0, 0, 0), vec![0.3, 0.1, 0.2]);
        measured.insert((0, 0, 2), vec![0.05]);
        let results = Results {
            servers: vec![
                (SERVERS[0], None),
                (SERVERS[3], Some("no network".to_owned())),
                (SERVERS[7], None),
            ],
            measured,
            warnings: vec![("a".into(), "b".into(), "slow".into())],
            growth: None,
            rounds: 3,
            machine: "a machine".into(),
        };
        let page = text(&results, "picture.svg");
        assert!(
            page.contains("| latency p50, ms | **0.20** | missing | 0.05 |"),
            "{page}"
        );
        assert!(page.contains("It is missing here: no network"));
        assert!(page.contains("- a, b: slow"));
        assert!(picture::draw(&results).starts_with("<svg"));
    }

    #[test]
    fn numbers_are_grouped() {
        let shown: Vec<_> = [(1234567.0, 0), (999.5, 1), (1000.0, 2), (0.25, 2)]
            .map(|(value, decimals)| number(value, decimals))
            .into();
        assert_eq!(shown, ["1,234,567", "999.5", "1,000.00", "0.25"]);
    }
}
