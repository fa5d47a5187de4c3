-- A commit writes what came together, of all documents, behind each other: one or two pages instead
-- of one a document. Rows wait here until a round moves many of a document at once into its log.
--
-- A row is part of its document's log from its commit on. It counts while its sequence is above the
-- document's head; what a round has moved stays until the round's end and counts no more.
CREATE TABLE journal (
    position INTEGER PRIMARY KEY,
    document_id INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    id BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    identity TEXT,
    door TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    content BLOB NOT NULL
) STRICT;

-- A round updates each document once, not once a row.
DROP TRIGGER append_updates_document;

PRAGMA user_version = 3;
