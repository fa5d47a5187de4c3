-- Documents, their log of appends, and snapshots of their state.
-- Names are bytes and compare as bytes; times are milliseconds since 1970.

-- "DRFT": tells this database from any other SQLite file.
PRAGMA application_id = 1146242644;

CREATE TABLE documents (
    id INTEGER PRIMARY KEY,
    name BLOB NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 512),
    -- The generation of history, and the newest sequence number of the generation before it.
    epoch INTEGER NOT NULL DEFAULT 1,
    epoch_start INTEGER NOT NULL DEFAULT 0,
    -- The newest sequence number; it keeps counting over epochs.
    head INTEGER NOT NULL DEFAULT 0,
    changed_ms INTEGER NOT NULL DEFAULT 0,
    quarantine TEXT,
    tombstone BLOB,
    -- Bytes of all updates ever appended in this epoch; differences of it give the size of log ranges.
    log_bytes INTEGER NOT NULL DEFAULT 0,
    -- What the newest snapshot covers, in sequence and in log_bytes.
    covered_sequence INTEGER NOT NULL DEFAULT 0,
    covered_bytes INTEGER NOT NULL DEFAULT 0,
    -- The horizon of history: appends at or below it are readable through the base snapshot only.
    floor_sequence INTEGER NOT NULL DEFAULT 0,
    floor_bytes INTEGER NOT NULL DEFAULT 0,
    -- Rows at or below it are gone; what lies between here and the floor waits for its removal.
    trimmed_sequence INTEGER NOT NULL DEFAULT 0,
    -- Time of the oldest append above the floor; NULL when there is none.
    oldest_ms INTEGER
) STRICT;

-- Clustered by document: a load reads neighbouring pages, a commit writes one page a document. There
-- is no index over the random ids, which would write another page an append: the one writer knows
-- which ids it tried before and looks only for those.
-- The reference is checked at the commit: a check within the statement would make SQLite keep a
-- journal of every page that a statement of many rows touches.
CREATE TABLE appends (
    document_id INTEGER NOT NULL REFERENCES documents (id) DEFERRABLE INITIALLY DEFERRED,
    sequence INTEGER NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    epoch INTEGER NOT NULL,
    identity TEXT,
    door TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (document_id, sequence)
) STRICT, WITHOUT ROWID;

-- At most two a document: the latest state, and the base at the horizon of history.
CREATE TABLE snapshots (
    document_id INTEGER NOT NULL REFERENCES documents (id),
    kind TEXT NOT NULL CHECK (kind IN ('latest', 'base')),
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (document_id, kind)
) STRICT;

-- What a repair cut away, kept as it was found.
CREATE TABLE cut_appends (
    cut_ms INTEGER NOT NULL,
    document_id INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    id BLOB,
    epoch INTEGER,
    identity TEXT,
    door TEXT,
    time_ms INTEGER,
    checksum INTEGER,
    content BLOB
) STRICT;

CREATE TABLE cut_snapshots (
    cut_ms INTEGER NOT NULL,
    document_id INTEGER NOT NULL,
    kind TEXT,
    epoch INTEGER,
    sequence INTEGER,
    checksum INTEGER,
    state BLOB
) STRICT;

PRAGMA user_version = 1;
