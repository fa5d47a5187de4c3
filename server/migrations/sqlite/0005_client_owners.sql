-- Whose client ids of a document are: the identity that wrote under one first, while ids are bound.
-- A row is written in the transaction that stores the append; the first one counts.
CREATE TABLE client_owners (
    document_id INTEGER NOT NULL,
    -- Rows of an epoch that has ended say nothing.
    epoch INTEGER NOT NULL,
    client INTEGER NOT NULL,
    -- The append that brought it.
    sequence INTEGER NOT NULL,
    -- As bytes; NULL: nobody, who is whoever has no identity.
    owner BLOB,
    PRIMARY KEY (document_id, epoch, client)
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 5;
