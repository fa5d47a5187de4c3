//! The report of an import, for people and for programs.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::super::print::{safe, size};
use crate::import::{Counts, NoteKind, Report};

/// Documents that a terminal is told of; `--report` names more.
const NAMED_MAX: usize = 100;

pub(super) fn as_text(report: &Report, dry_run: bool, elapsed: Duration) -> String {
    let mut text = String::new();
    for note in report.notes.iter().take(NAMED_MAX) {
        let word = note.kind.word().to_uppercase();
        let _ = writeln!(
            text,
            "{word} {}: {}",
            safe(&note.document),
            safe(&note.text)
        );
    }
    let counts = &report.counts;
    let noted = counts.failed() + counts.partial;
    let named = report.notes.len().min(NAMED_MAX) as u64;
    if noted > named {
        let _ = writeln!(
            text,
            "… and {} more; --report FILE names them",
            noted - named
        );
    }
    let _ = writeln!(
        text,
        "{} {} of {} documents ({} read) in {:.1} s{}",
        match dry_run {
            true => "would import",
            false => "imported",
        },
        counts.imported,
        counts.documents,
        size(counts.bytes),
        elapsed.as_secs_f64(),
        others(counts),
    );
    text + &match dry_run {
        true => "nothing was written\n".to_owned(),
        false => format!(
            "read back and compared: {} equal, {} with more than the source has, {} differing\n",
            counts.equal, counts.contained, counts.differing
        ),
    }
}

/// What became of the documents that were not imported.
fn others(counts: &Counts) -> String {
    let table = [
        (counts.merged, "of these merged with other content"),
        (counts.unchanged, "there already"),
        (counts.empty, "empty"),
        (counts.left_out, "not asked for"),
        (counts.conflicts, "in conflict"),
        (counts.refused, "refused"),
    ];
    let some = table.iter().filter(|(count, _)| *count > 0);
    some.map(|(count, word)| format!("; {count} {word}"))
        .collect()
}

pub(super) fn as_json(report: &Report, door: &str, dry_run: bool) -> Json {
    let Counts {
        total_documents,
        total_bytes,
        documents,
        bytes,
        imported,
        merged,
        unchanged,
        empty,
        left_out,
        refused,
        conflicts,
        partial,
        equal,
        contained,
        differing,
    } = report.counts;
    let notes = report.notes.iter().map(|note| {
        let kind: NoteKind = note.kind;
        json!({ "document": note.document, "kind": kind.word(), "text": note.text })
    });
    json!({
        "source": door.trim_start_matches("import "),
        "dry_run": dry_run,
        "source_documents": total_documents,
        "source_bytes": total_bytes,
        "documents": documents,
        "bytes": bytes,
        "imported": imported,
        "merged": merged,
        "unchanged": unchanged,
        "empty": empty,
        "left_out": left_out,
        "refused": refused,
        "conflicts": conflicts,
        "partial": partial,
        "equal": equal,
        "contained": contained,
        "differing": differing,
        "notes": notes.collect::<Vec<_>>(),
    })
}
