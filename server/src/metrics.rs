//! The names of the server's metrics, and what each of them counts. No labels by document.

/// Seconds from the start of a commit until the store reported it durable (histogram).
pub const COMMIT_SECONDS: &str = "driftless_commit_seconds";

/// Appends in a committed batch (histogram).
pub const COMMIT_BATCH_APPENDS: &str = "driftless_commit_batch_appends";

/// Bytes of appends that wait for their commit or are in it (gauge).
pub const COMMIT_QUEUE_BYTES: &str = "driftless_commit_queue_bytes";

/// Commits that failed, by `kind` of error; most are retried (counter).
pub const COMMIT_FAILURES: &str = "driftless_commit_failures_total";

/// Appends that were refused for good, by `reason` (counter).
pub const COMMIT_REFUSALS: &str = "driftless_commit_refusals_total";
