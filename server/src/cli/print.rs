//! Replies as text for people, or as JSON.

use std::fmt::Write as _;
use std::io::Write;

use serde_json::{Value as Json, json};

use super::time::rfc3339;
use super::{Failure, access, unwritable};
use crate::admin::Reply;
use crate::admin::command::{Details, Owners, Repaired, Summary, Verified};
use crate::config::units::show_size;

/// Prints one JSON value on lines of its own.
pub(super) fn json(value: &Json, output: &mut dyn Write) -> Result<(), Failure> {
    writeln!(output, "{value:#}").map_err(unwritable)
}

/// Prints a reply.
pub(super) fn reply(reply: &Reply, as_json: bool, output: &mut dyn Write) -> Result<(), Failure> {
    if as_json {
        return json(&reply_json(reply), output);
    }
    let text = reply_text(reply);
    output.write_all(text.as_bytes()).map_err(unwritable)
}

/// The reply without its name: what was asked for is known to the caller.
fn reply_json(reply: &Reply) -> Json {
    let value = match reply {
        Reply::List { documents } => serde_json::to_value(documents),
        Reply::Show(details) => serde_json::to_value(details),
        Reply::Verify(verified) => serde_json::to_value(verified),
        Reply::Repair(repaired) => serde_json::to_value(repaired),
        Reply::Import { head, changed } => Ok(json!({ "head": head, "changed": changed })),
        Reply::Delete { epoch } => Ok(json!({ "epoch": epoch })),
        Reply::Backup { bytes } => Ok(json!({ "bytes": bytes })),
        Reply::Access(reply) => access::json(reply),
        Reply::Export {} | Reply::Release {} => Ok(json!({})),
        #[cfg(feature = "fault-injection")]
        Reply::Harm {} => Ok(json!({})),
    };
    value.unwrap_or_default()
}

fn reply_text(reply: &Reply) -> String {
    match reply {
        Reply::List { documents } => list(documents),
        Reply::Show(details) => show(details),
        Reply::Verify(verified) => verify(verified),
        Reply::Repair(repaired) => repair(repaired),
        Reply::Import {
            head,
            changed: true,
        } => format!("imported; the head is now {head}\n"),
        Reply::Import { head, .. } => {
            format!("nothing new; the document held all of it already (head {head})\n")
        }
        Reply::Delete { epoch } => format!("deleted; epoch {epoch} begins\n"),
        Reply::Backup { bytes } => format!("backed up, {}\n", size(*bytes)),
        Reply::Export {} => String::new(),
        Reply::Access(reply) => access::text(reply),
        Reply::Release {} => "released; the document can be written again\n".into(),
        #[cfg(feature = "fault-injection")]
        Reply::Harm {} => "done; look at the log and driftless_document_restarts_total\n".into(),
    }
}

fn list(documents: &[Summary]) -> String {
    let mut text = format!(
        "{:<20}  {:>10}  {:>10}  {:<11}  {}\n",
        "CHANGED", "HEAD", "STORED", "STATE", "DOCUMENT"
    );
    for document in documents {
        let _ = writeln!(
            text,
            "{:<20}  {:>10}  {:>10}  {:<11}  {}",
            rfc3339(document.changed_ms),
            document.head,
            size(document.stored_bytes),
            state(document),
            safe(&document.document),
        );
    }
    text
}

fn state(document: &Summary) -> &'static str {
    match (&document.quarantine, document.deleted) {
        (Some(_), _) => "quarantined",
        (None, true) => "deleted",
        (None, false) => "ok",
    }
}

fn show(details: &Details) -> String {
    let summary = &details.summary;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<11} {value}");
    };
    line("document", safe(&summary.document));
    line("state", state(summary).into());
    if let Some(reason) = &summary.quarantine {
        line("quarantine", safe(reason));
    }
    if let Some(damage) = &details.damage {
        line("damage", safe(damage));
    }
    line("size", size(details.state_bytes));
    line("changed", rfc3339(summary.changed_ms));
    line(
        "head",
        format!("{} (epoch {})", summary.head, summary.epoch),
    );
    line("snapshot", format!("up to {}", details.snapshot_sequence));
    line(
        "stored",
        format!(
            "{} in {} appends and snapshots",
            size(summary.stored_bytes),
            summary.appends
        ),
    );
    match details.live {
        Some(live) if live.resident => line("sessions", live.sessions.to_string()),
        Some(_) => line("sessions", "0 (not in memory)".into()),
        None => line("sessions", "the server is stopped".into()),
    }
    match &details.owners {
        Some(owners) if owners.identities == 0 => line("client ids", "none has an owner".into()),
        Some(owners) => {
            let (ids, identities) = (owners.client_ids, owners.identities);
            line("client ids", format!("{ids} (owners: {identities})"));
            text += &owned(owners);
        }
        None => {}
    }
    text
}

/// Whose client ids are, a line for each identity.
fn owned(owners: &Owners) -> String {
    let mut text = String::new();
    for owner in &owners.listed {
        let who = match &owner.identity {
            Some(identity) => safe(identity),
            None => "(nobody)".to_owned(),
        };
        let ids: Vec<String> = owner.listed.iter().map(u64::to_string).collect();
        let more = match owner.client_ids.saturating_sub(ids.len() as u64) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let _ = writeln!(text, "{:<11} {who}: {}{more}", "", ids.join(", "));
    }
    let more = owners.identities.saturating_sub(owners.listed.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "{:<11} … and {more} more", "");
    }
    text
}

fn verify(verified: &Verified) -> String {
    let mut text = String::new();
    for place in &verified.damages {
        let name = place.document.as_deref().unwrap_or("(database)");
        let _ = writeln!(text, "DAMAGED {}: {}", safe(name), safe(&place.description));
    }
    let more = verified.damaged - verified.damages.len() as u64;
    if more > 0 {
        let _ = writeln!(text, "… and {more} more");
    }
    let _ = writeln!(
        text,
        "read {} documents with {} appends: {}",
        verified.documents,
        verified.appends,
        match verified.damaged {
            0 => "all is well".to_owned(),
            1 => "1 damage".to_owned(),
            many => format!("{many} damages"),
        }
    );
    text
}

fn repair(repaired: &Repaired) -> String {
    let Repaired {
        head_before,
        head,
        dropped_appends,
        dropped_snapshots,
    } = repaired;
    if *dropped_appends == 0 && *dropped_snapshots == 0 {
        return format!("nothing to repair; the head is {head}\n");
    }
    format!(
        "cut back from {head_before} to {head}: {dropped_appends} appends and \
         {dropped_snapshots} snapshots were moved aside\n"
    )
}

/// A size with at most one decimal, for people.
pub(super) fn size(bytes: u64) -> String {
    const STEPS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match STEPS.iter().find(|(_, factor)| bytes >= *factor) {
        Some((unit, factor)) => format!("{:.1}{unit}", bytes as f64 / *factor as f64),
        None => format!("{}B", show_size(bytes)),
    }
}

/// Names come from strangers: nothing in them may move a terminal's cursor or reorder its line.
pub(super) fn safe(text: &str) -> String {
    let reorders = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || reorders(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}
