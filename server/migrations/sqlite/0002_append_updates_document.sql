-- A commit is one statement, and so one way to SQLite's thread and back: an append brings its
-- document's row up to date by itself. The document exists before its first append.
CREATE TRIGGER append_updates_document AFTER INSERT ON appends BEGIN
    UPDATE documents SET
        head = NEW.sequence,
        log_bytes = log_bytes + length(NEW.content),
        oldest_ms = coalesce(oldest_ms, NEW.time_ms),
        changed_ms = max(changed_ms, NEW.time_ms)
    WHERE id = NEW.document_id;
END;

PRAGMA user_version = 2;
