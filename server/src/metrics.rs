//! Every metric of the server: its name, its meaning, and the one place that records it.

use std::time::Duration;

use crate::adapters::tls::Validity;
use crate::outbox::Written;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

/// Updates that brought something new.
pub const UPDATES_APPLIED: &str = "driftless_updates_applied_total";
/// Transactions that updates were applied in; updates per transaction is the merge ratio.
pub const TRANSACTIONS: &str = "driftless_apply_transactions_total";
/// Updates that brought nothing new.
pub const UPDATES_DUPLICATE: &str = "driftless_updates_duplicate_total";
/// Updates with a part that needs what is not there.
pub const GAPS: &str = "driftless_gaps_total";
/// Input that was refused, by reason.
pub const REFUSED: &str = "driftless_refused_total";
/// Writes that were answered with a denial.
pub const DENIED: &str = "driftless_denied_total";
/// Sessions that fell behind and were brought up to date.
pub const RESYNCS: &str = "driftless_resyncs_total";
/// Joiners that were served from stored bytes, before the replica was built.
pub const JOINS_SERVED_EARLY: &str = "driftless_joins_served_early_total";
/// Presence entries without news.
pub const PRESENCE_ECHOES: &str = "driftless_presence_echoes_total";
/// Times that changes of presence were told later, since they came too fast.
pub const PRESENCE_HELD_BACK: &str = "driftless_presence_held_back_total";
/// Frames handed to sessions by broadcasts.
pub const FRAMES_RELAYED: &str = "driftless_frames_relayed_total";
/// Document actors that were replaced.
pub const RESTARTS: &str = "driftless_document_restarts_total";
/// Commits told to other nodes.
pub const BUS_PUBLISHED: &str = "driftless_bus_published_total";
/// Commits of other nodes that were heard.
pub const BUS_RECEIVED: &str = "driftless_bus_received_total";
/// Holes in what was heard of other nodes.
pub const BUS_HOLES: &str = "driftless_bus_holes_total";
/// Reads of the log to catch up with other nodes.
pub const BUS_REPAIRS: &str = "driftless_bus_repairs_total";
/// Documents whose logs were looked at for changes of other nodes.
pub const POLLED: &str = "driftless_documents_polled_total";
/// Stateless messages of other nodes that were too many.
pub const STATELESS_LOST: &str = "driftless_stateless_lost_total";
/// Sessions that were ended or changed because of their rights, by cause.
pub const ACCESS_CHANGES: &str = "driftless_access_changes_total";
/// Restrictions of access that are in force.
pub const RESTRICTIONS: &str = "driftless_restrictions";
/// Logs that were found at an earlier state than the replica.
pub const LOGS_LOST: &str = "driftless_logs_lost_total";
/// Whether other nodes are heard: 1, or 0 while the bus is down.
pub const BUS_UP: &str = "driftless_bus_up";
/// Other nodes that are heard.
pub const BUS_NODES: &str = "driftless_bus_nodes";
/// Bus messages that reached nobody; who misses one reads the log.
pub const BUS_LOST: &str = "driftless_bus_lost_total";
/// Bus messages that could not be read, of another version or malformed.
pub const BUS_UNREADABLE: &str = "driftless_bus_unreadable_total";
/// Document actors that were stuck.
pub const STUCK: &str = "driftless_document_stuck_total";
/// Documents that were frozen.
pub const QUARANTINES: &str = "driftless_document_quarantines_total";
/// Documents that left memory.
pub const EVICTIONS: &str = "driftless_document_evictions_total";
/// Documents that could not be loaded.
pub const LOAD_FAILURES: &str = "driftless_document_load_failures_total";
/// Documents in memory, by state.
pub const DOCUMENTS: &str = "driftless_documents";
/// Sessions attached to documents.
pub const SESSIONS: &str = "driftless_sessions";
/// About how much memory replicas take.
pub const RESIDENT_BYTES: &str = "driftless_documents_resident_bytes";
/// Messages that wait in front of documents.
pub const MAILBOX_MESSAGES: &str = "driftless_mailbox_messages";
/// Bytes that wait in front of documents.
pub const MAILBOX_BYTES: &str = "driftless_mailbox_bytes";

/// Describes the metrics of documents to the recorder.
pub fn describe_documents() {
    describe_counter!(UPDATES_APPLIED, "Updates that brought something new");
    describe_counter!(TRANSACTIONS, "Transactions that updates were applied in");
    describe_counter!(UPDATES_DUPLICATE, "Updates that brought nothing new");
    describe_counter!(GAPS, "Updates with a part that needs what is not there");
    describe_counter!(REFUSED, "Input that was refused, by reason");
    describe_counter!(DENIED, "Writes that were answered with a denial");
    describe_counter!(
        STATELESS_LOST,
        "Stateless messages of other nodes that were too many"
    );
    describe_gauge!(RESTRICTIONS, "Restrictions of access that are in force");
    describe_counter!(
        ACCESS_CHANGES,
        "Sessions that were ended or changed because of their rights, by cause"
    );
    describe_counter!(
        RESYNCS,
        "Sessions that fell behind and were brought up to date"
    );
    describe_counter!(
        JOINS_SERVED_EARLY,
        "Joiners that were served from stored bytes, before the replica was built"
    );
    describe_counter!(PRESENCE_ECHOES, "Presence entries without news");
    describe_counter!(PRESENCE_HELD_BACK, "Presence that came too fast");
    describe_counter!(FRAMES_RELAYED, "Frames handed to sessions by broadcasts");
    describe_counter!(RESTARTS, "Document actors that were replaced");
    describe_counter!(BUS_PUBLISHED, "Commits told to other nodes");
    describe_counter!(BUS_RECEIVED, "Commits of other nodes that were heard");
    describe_counter!(BUS_HOLES, "Holes in what was heard of other nodes");
    describe_counter!(BUS_REPAIRS, "Reads of the log to catch up with other nodes");
    describe_counter!(STUCK, "Document actors that were stuck");
    describe_counter!(QUARANTINES, "Documents that were frozen");
    describe_counter!(EVICTIONS, "Documents that left memory");
    describe_counter!(LOAD_FAILURES, "Documents that could not be loaded");
    describe_gauge!(DOCUMENTS, "Documents in memory, by state");
    describe_gauge!(SESSIONS, "Sessions attached to documents");
    describe_gauge!(RESIDENT_BYTES, "About how much memory replicas take");
    describe_gauge!(MAILBOX_MESSAGES, "Messages that wait in front of documents");
    describe_gauge!(MAILBOX_BYTES, "Bytes that wait in front of documents");
}

pub(crate) fn updates_applied(updates: usize) {
    counter!(UPDATES_APPLIED).increment(updates as u64);
    counter!(TRANSACTIONS).increment(1);
}

pub(crate) fn duplicate() {
    counter!(UPDATES_DUPLICATE).increment(1);
}

pub(crate) fn gap() {
    counter!(GAPS).increment(1);
}

pub(crate) fn refused(reason: &'static str) {
    counter!(REFUSED, "reason" => reason).increment(1);
}

pub(crate) fn denied() {
    counter!(DENIED).increment(1);
}

pub(crate) fn stateless_lost() {
    counter!(STATELESS_LOST).increment(1);
}

pub(crate) fn access_changed(cause: &'static str) {
    counter!(ACCESS_CHANGES, "cause" => cause).increment(1);
}

pub(crate) fn restrictions(in_force: usize) {
    gauge!(RESTRICTIONS).set(in_force as f64);
}

pub(crate) fn joins_served_early(sessions: usize) {
    counter!(JOINS_SERVED_EARLY).increment(sessions as u64);
}

pub(crate) fn resynced() {
    counter!(RESYNCS).increment(1);
}

pub(crate) fn presence_echo() {
    counter!(PRESENCE_ECHOES).increment(1);
}

pub(crate) fn presence_held_back() {
    counter!(PRESENCE_HELD_BACK).increment(1);
}

pub(crate) fn frames_relayed(frames: u64) {
    counter!(FRAMES_RELAYED).increment(frames);
}

/// Frames that documents wrote to sockets themselves.
pub(crate) fn sent(written: Written) {
    counter!(BYTES_SENT).increment(written.bytes as u64);
    counter!(FRAMES_SENT).increment(written.frames as u64);
}

pub(crate) fn restarted() {
    counter!(RESTARTS).increment(1);
}

pub(crate) fn bus_published() {
    counter!(BUS_PUBLISHED).increment(1);
}

pub(crate) fn bus_received() {
    counter!(BUS_RECEIVED).increment(1);
}

pub(crate) fn bus_hole() {
    counter!(BUS_HOLES).increment(1);
}

pub(crate) fn bus_repaired() {
    counter!(BUS_REPAIRS).increment(1);
}

pub(crate) fn stuck() {
    counter!(STUCK).increment(1);
}

pub(crate) fn quarantined() {
    counter!(QUARANTINES).increment(1);
}

pub(crate) fn evicted() {
    counter!(EVICTIONS).increment(1);
}

pub(crate) fn load_failed() {
    counter!(LOAD_FAILURES).increment(1);
}

/// What the supervisor sees on one look.
#[derive(Debug, Default)]
pub(crate) struct DocumentGauges {
    pub(crate) documents: u64,
    pub(crate) idle: u64,
    pub(crate) sessions: u64,
    pub(crate) resident_bytes: u64,
    pub(crate) mailbox_messages: u64,
    pub(crate) mailbox_bytes: u64,
}

impl DocumentGauges {
    pub(crate) fn publish(&self) {
        gauge!(DOCUMENTS, "state" => "idle").set(self.idle as f64);
        gauge!(DOCUMENTS, "state" => "active").set((self.documents - self.idle) as f64);
        gauge!(SESSIONS).set(self.sessions as f64);
        gauge!(RESIDENT_BYTES).set(self.resident_bytes as f64);
        gauge!(MAILBOX_MESSAGES).set(self.mailbox_messages as f64);
        gauge!(MAILBOX_BYTES).set(self.mailbox_bytes as f64);
    }
}

// Connections (adapters). Sockets keep handles of the busy ones, so they are recorded there.

/// Open WebSocket connections.
pub const CONNECTIONS: &str = "driftless_connections";
/// Those of them that have not opened a document.
pub const UNAUTHENTICATED_CONNECTIONS: &str = "driftless_unauthenticated_connections";
/// Reads after which a connection was left unread for a while, by the limit it was beyond.
pub const READS_HELD_BACK: &str = "driftless_reads_held_back_total";
/// Requests for a connection that were turned away, by reason.
pub const CONNECTIONS_REFUSED: &str = "driftless_connections_refused_total";
/// Connections of balancers without a usable PROXY protocol header, by reason.
pub const PROXY_HEADERS_REFUSED: &str = "driftless_proxy_headers_refused_total";
/// TLS handshakes that came to nothing, by reason.
pub const TLS_HANDSHAKES_FAILED: &str = "driftless_tls_handshakes_failed_total";
/// Looks at the TLS files that found something new, by outcome (exchanged or failed).
pub const TLS_RELOADS: &str = "driftless_tls_reloads_total";
/// Until when the TLS certificate is valid, in seconds since 1970.
pub const TLS_NOT_AFTER: &str = "driftless_tls_certificate_not_after_seconds";
/// Ended connections, by who ended them (server, peer, or lost) and the server's close code.
pub const CONNECTIONS_CLOSED: &str = "driftless_connections_closed_total";
/// WebSocket messages from clients.
pub const FRAMES_RECEIVED: &str = "driftless_frames_received_total";
/// WebSocket frames to clients.
pub const FRAMES_SENT: &str = "driftless_frames_sent_total";
/// Bytes from clients after the handshake.
pub const BYTES_RECEIVED: &str = "driftless_received_bytes_total";
/// Bytes to clients, the handshake's answer included.
pub const BYTES_SENT: &str = "driftless_sent_bytes_total";

/// Describes the metrics of connections to the recorder.
pub fn describe_connections() {
    describe_gauge!(CONNECTIONS, "Open WebSocket connections");
    describe_gauge!(UNAUTHENTICATED_CONNECTIONS, "Those without a document yet");
    describe_counter!(READS_HELD_BACK, "Reads beyond a rate, by limit");
    describe_counter!(CONNECTIONS_REFUSED, "Requests for a connection turned away");
    describe_counter!(
        PROXY_HEADERS_REFUSED,
        "Connections of balancers without a usable PROXY protocol header"
    );
    describe_counter!(TLS_HANDSHAKES_FAILED, "TLS handshakes that came to nothing");
    describe_counter!(
        TLS_RELOADS,
        "Changed TLS files that were taken (exchanged) or could not be (failed)"
    );
    describe_gauge!(
        TLS_NOT_AFTER,
        Unit::Seconds,
        "Until when the TLS certificate is valid, since 1970"
    );
    describe_counter!(
        CONNECTIONS_CLOSED,
        "Ended connections, by who ended them and code"
    );
    describe_counter!(FRAMES_RECEIVED, "WebSocket messages from clients");
    describe_counter!(FRAMES_SENT, "WebSocket frames to clients");
    describe_counter!(BYTES_RECEIVED, Unit::Bytes, "Bytes from clients");
    describe_counter!(BYTES_SENT, Unit::Bytes, "Bytes to clients");
}

pub(crate) fn connection_refused(reason: &'static str) {
    counter!(CONNECTIONS_REFUSED, "reason" => reason).increment(1);
}

pub(crate) fn proxy_header_refused(reason: &'static str) {
    counter!(PROXY_HEADERS_REFUSED, "reason" => reason).increment(1);
}

pub(crate) fn tls_handshake_failed(reason: &'static str) {
    counter!(TLS_HANDSHAKES_FAILED, "reason" => reason).increment(1);
}

pub(crate) fn tls_reloaded(outcome: &'static str) {
    counter!(TLS_RELOADS, "outcome" => outcome).increment(1);
}

pub(crate) fn tls_certificate(validity: Validity) {
    gauge!(TLS_NOT_AFTER).set(validity.not_after as f64);
}

/// `code` is one of the server's own: what peers invent is no label, their number is unbounded.
pub(crate) fn connection_closed(by: &'static str, code: Option<u16>) {
    let code = code.map_or(String::new(), |code| code.to_string());
    counter!(CONNECTIONS_CLOSED, "by" => by, "code" => code).increment(1);
}

// Commits (store).

/// Seconds from the start of a commit until the store reported it durable.
pub const COMMIT_SECONDS: &str = "driftless_commit_seconds";
/// Appends in a committed batch.
pub const COMMIT_BATCH_APPENDS: &str = "driftless_commit_batch_appends";
/// Bytes of appends that wait for their commit or are in it.
pub const COMMIT_QUEUE_BYTES: &str = "driftless_commit_queue_bytes";
/// Commits that failed, by kind of error; most are retried.
pub const COMMIT_FAILURES: &str = "driftless_commit_failures_total";
/// Appends that were refused for good, by reason.
pub const COMMIT_REFUSALS: &str = "driftless_commit_refusals_total";

/// Snapshots that were built from stored data.
pub const COMPACTIONS: &str = "driftless_compactions_total";
/// Housekeeping that failed.
pub const HOUSEKEEPING_FAILURES: &str = "driftless_housekeeping_failures_total";

/// Documents that were committed beside their lane, since another node wrote to them, too.
pub const COMMITTED_ASIDE: &str = "driftless_commit_asides_total";

/// Describes the metrics of the store to the recorder.
pub fn describe_store() {
    describe_histogram!(COMMIT_SECONDS, Unit::Seconds, "Time of a commit");
    describe_histogram!(COMMIT_BATCH_APPENDS, "Appends in a committed batch");
    describe_gauge!(
        COMMIT_QUEUE_BYTES,
        Unit::Bytes,
        "Appends not yet durable, by lane"
    );
    describe_counter!(COMMITTED_ASIDE, "Documents committed beside their lane");
    describe_counter!(COMMIT_FAILURES, "Commits that failed, by kind of error");
    describe_counter!(COMMIT_REFUSALS, "Appends refused for good, by reason");
    describe_counter!(COMPACTIONS, "Snapshots built from stored data");
    describe_counter!(HOUSEKEEPING_FAILURES, "Housekeeping that failed");
}

pub(crate) fn committed(appends: usize, took: Duration) {
    histogram!(COMMIT_SECONDS).record(took.as_secs_f64());
    histogram!(COMMIT_BATCH_APPENDS).record(appends as f64);
}

pub(crate) fn commit_queue(lane: &str, bytes: u64) {
    gauge!(COMMIT_QUEUE_BYTES, "lane" => lane.to_owned()).set(bytes as f64);
}

pub(crate) fn committed_aside() {
    counter!(COMMITTED_ASIDE).increment(1);
}

pub(crate) fn commit_failed(kind: &'static str) {
    counter!(COMMIT_FAILURES, "kind" => kind).increment(1);
}

pub(crate) fn commit_refused(reason: &'static str) {
    counter!(COMMIT_REFUSALS, "reason" => reason).increment(1);
}

pub(crate) fn compacted() {
    counter!(COMPACTIONS).increment(1);
}

pub(crate) fn housekeeping_failed() {
    counter!(HOUSEKEEPING_FAILURES).increment(1);
}

/// Describes the metrics of the bus to the recorder.
pub fn describe_bus() {
    describe_counter!(POLLED, "Documents looked at for changes of other nodes");
    describe_counter!(LOGS_LOST, "Logs found at an earlier state than the replica");
    describe_gauge!(BUS_UP, "Whether other nodes are heard");
    describe_gauge!(BUS_NODES, "Other nodes that are heard");
    describe_counter!(BUS_LOST, "Bus messages that reached nobody");
    describe_counter!(BUS_UNREADABLE, "Bus messages that could not be read");
}

pub(crate) fn polled(documents: usize) {
    counter!(POLLED).increment(documents as u64);
}

pub(crate) fn log_lost() {
    counter!(LOGS_LOST).increment(1);
}

pub(crate) fn bus_up(is_up: bool) {
    gauge!(BUS_UP).set(if is_up { 1.0 } else { 0.0 });
}

pub(crate) fn bus_nodes(nodes: usize) {
    gauge!(BUS_NODES).set(nodes as f64);
}

pub(crate) fn bus_lost(messages: usize) {
    counter!(BUS_LOST).increment(messages as u64);
}

pub(crate) fn bus_unreadable() {
    counter!(BUS_UNREADABLE).increment(1);
}

// Identity and rights.

/// Answers to peers that want a document, by outcome and door.
pub const AUTH_DECISIONS: &str = "driftless_auth_decisions_total";
/// Looks for keys in a file that changed or at a URL, by place and result.
pub const AUTH_KEY_REFRESHES: &str = "driftless_auth_key_refreshes_total";
/// Seconds from a request to the authorization hook to its answer or failure.
pub const AUTH_HOOK_SECONDS: &str = "driftless_auth_hook_seconds";
/// Requests to the authorization hook that failed, by reason.
pub const AUTH_HOOK_FAILURES: &str = "driftless_auth_hook_failures_total";
/// Questions that an earlier answer of the hook settled.
pub const AUTH_HOOK_CACHED: &str = "driftless_auth_hook_cached_total";
/// Whether the hook is left alone after failures: 1, or 0 while it is asked.
pub const AUTH_HOOK_OPEN: &str = "driftless_auth_hook_circuit_open";

/// Describes the metrics of identity and rights to the recorder.
pub fn describe_auth() {
    describe_counter!(
        AUTH_DECISIONS,
        "Answers to peers that want a document, by outcome and door"
    );
    describe_counter!(AUTH_KEY_REFRESHES, "Looks for keys, by place and result");
    describe_histogram!(
        AUTH_HOOK_SECONDS,
        Unit::Seconds,
        "Time of a request to the authorization hook"
    );
    describe_counter!(AUTH_HOOK_FAILURES, "Failed requests to the hook, by reason");
    describe_counter!(AUTH_HOOK_CACHED, "Questions settled by an earlier answer");
    describe_gauge!(AUTH_HOOK_OPEN, "Whether the hook is left alone for a while");
}

pub(crate) fn auth_decided(outcome: &'static str, door: &'static str) {
    counter!(AUTH_DECISIONS, "outcome" => outcome, "door" => door).increment(1);
}

pub(crate) fn auth_keys_refreshed(place: &'static str, result: &'static str) {
    counter!(AUTH_KEY_REFRESHES, "place" => place, "result" => result).increment(1);
}

pub(crate) fn auth_hook_asked(took: Duration) {
    histogram!(AUTH_HOOK_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn auth_hook_failed(reason: &'static str) {
    counter!(AUTH_HOOK_FAILURES, "reason" => reason).increment(1);
}

pub(crate) fn auth_hook_cached() {
    counter!(AUTH_HOOK_CACHED).increment(1);
}

pub(crate) fn auth_hook_circuit(is_open: bool) {
    gauge!(AUTH_HOOK_OPEN).set(if is_open { 1.0 } else { 0.0 });
}
