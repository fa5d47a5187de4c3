-- Access that operators took back: upper bounds on what some may do. Names are bytes; times are
-- milliseconds since 1970.
CREATE TABLE restrictions (
    id TEXT PRIMARY KEY,
    -- Whom it concerns: all that is not NULL has to fit. A star in a document stands for any run.
    document BLOB,
    subject BLOB,
    token_id BLOB,
    right_max TEXT NOT NULL CHECK (right_max IN ('none', 'read', 'comment')),
    since_ms INTEGER NOT NULL,
    until_ms INTEGER,
    issued_before_ms INTEGER,
    reason TEXT NOT NULL,
    CHECK (coalesce(document, subject, token_id) IS NOT NULL)
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 4;
