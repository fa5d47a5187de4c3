-- Documents, their log of appends, and snapshots of their state, shared by all nodes of a cluster.
-- Names are bytes and compare as bytes; times are milliseconds since 1970.

-- One row: what this database is, and whose.
CREATE TABLE cluster (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    -- "DRFT": tells this schema from any other.
    application text NOT NULL DEFAULT 'driftless' CHECK (application = 'driftless'),
    -- Prefixes every name on the bus, so that two clusters never mix.
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    schema_version integer NOT NULL
);
INSERT INTO cluster (schema_version) VALUES (1);

-- Every append updates its document's row: room on each page lets that stay on the page.
CREATE TABLE documents (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name bytea NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 512),
    -- The generation of history, and the newest sequence number of the generation before it.
    epoch bigint NOT NULL DEFAULT 1,
    epoch_start bigint NOT NULL DEFAULT 0,
    -- The newest sequence number; it keeps counting over epochs.
    head bigint NOT NULL DEFAULT 0,
    changed_ms bigint NOT NULL DEFAULT 0,
    quarantine text,
    tombstone bytea,
    -- Bytes of all updates ever appended in this epoch; differences of it give the size of log ranges.
    log_bytes bigint NOT NULL DEFAULT 0,
    -- What the newest snapshot covers, in sequence and in log_bytes.
    covered_sequence bigint NOT NULL DEFAULT 0,
    covered_bytes bigint NOT NULL DEFAULT 0,
    -- The horizon of history: appends at or below it are readable through the base snapshot only.
    floor_sequence bigint NOT NULL DEFAULT 0,
    floor_bytes bigint NOT NULL DEFAULT 0,
    -- Rows at or below it are gone; what lies between here and the floor waits for its removal.
    trimmed_sequence bigint NOT NULL DEFAULT 0,
    -- Time of the oldest append above the floor; NULL when there is none.
    oldest_ms bigint
) WITH (fillfactor = 50);

-- Documents are never removed, so that a reference needs no check at every append. The checksum covers
-- everything but the sequence, which the database gives: (document_id, sequence) and the random id
-- tell rows apart.
CREATE TABLE appends (
    document_id bigint NOT NULL,
    sequence bigint NOT NULL,
    id uuid NOT NULL,
    epoch bigint NOT NULL,
    identity text,
    door text NOT NULL,
    time_ms bigint NOT NULL,
    checksum bigint NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (document_id, sequence)
);
-- Updates are dense already.
ALTER TABLE appends ALTER COLUMN content SET STORAGE EXTERNAL;

-- At most two a document: the latest state, and the base at the horizon of history.
CREATE TABLE snapshots (
    document_id bigint NOT NULL REFERENCES documents (id),
    kind text NOT NULL CHECK (kind IN ('latest', 'base')),
    epoch bigint NOT NULL,
    sequence bigint NOT NULL,
    checksum bigint NOT NULL,
    state bytea NOT NULL,
    PRIMARY KEY (document_id, kind)
);

-- Tries to commit, by their random ids. A try whose answer was lost is claimed here by the next one:
-- if it went through, its row is found; if not, it cannot go through any more.
CREATE TABLE attempts (
    id uuid PRIMARY KEY,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Work that only one node does at a time. A token that is not the newest does nothing any more.
CREATE TABLE leases (
    name text PRIMARY KEY,
    holder text NOT NULL,
    token bigint NOT NULL,
    expires_at timestamptz NOT NULL
);

-- What a repair cut away, kept as it was found.
CREATE TABLE cut_appends (
    cut_ms bigint NOT NULL,
    document_id bigint NOT NULL,
    sequence bigint NOT NULL,
    id uuid,
    epoch bigint,
    identity text,
    door text,
    time_ms bigint,
    checksum bigint,
    content bytea
);
CREATE TABLE cut_snapshots (
    cut_ms bigint NOT NULL,
    document_id bigint NOT NULL,
    kind text,
    epoch bigint,
    sequence bigint,
    checksum bigint,
    state bytea
);

-- Locks the documents of a batch in the order of their ids, gives each append its number, stores it,
-- and tells what became of it: one statement, one round trip, and no lock is held over any.
--
-- `doubtful`: tries whose answers were lost; appends of the batch may be stored by one of them.
-- `passes_over`: documents that another node is writing to at the moment are left out, and told so.
-- `after_sequences` and `after_ids`: the append that a change may rest on. When it is not in the log
-- any more, the database was taken back to an earlier state under its writers.
CREATE FUNCTION append_batch(
    attempt uuid, doubtful uuid[],
    names bytea[], epochs bigint[], ids uuid[], identities text[], doors text[],
    times_ms bigint[], checksums bigint[], contents bytea[],
    after_sequences bigint[], after_ids uuid[], passes_over boolean
) RETURNS TABLE (place bigint, given_sequence bigint, current_epoch bigint, is_log_lost boolean,
    is_busy boolean)
LANGUAGE plpgsql
-- A batch names its documents: whatever statistics say, each is found by its index; and it is planned
-- once a connection, since planning would cost more than a small batch.
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    claimed bigint := 0;
    repeats boolean := false;
    locked bigint[];
BEGIN
    -- Waits for a doubtful try that is still under way; claims one that never came. Only when one went
    -- through is it worth to look for its appends. The nil id stands for a try that did.
    IF cardinality(doubtful) > 0 THEN
        INSERT INTO attempts (id) SELECT DISTINCT one FROM unnest(doubtful) AS one ORDER BY one
            ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS claimed = ROW_COUNT;
        repeats := claimed < (SELECT count(DISTINCT one) FROM unnest(doubtful) AS one)
            OR '00000000-0000-0000-0000-000000000000' = ANY (doubtful);
    END IF;
    INSERT INTO attempts (id) VALUES (attempt);

    INSERT INTO documents (name)
        SELECT DISTINCT given.name FROM unnest(names, epochs) AS given (name, epoch)
        WHERE given.epoch = 1 AND NOT EXISTS
            (SELECT FROM documents WHERE documents.name = given.name)
        ORDER BY given.name
        ON CONFLICT DO NOTHING;
    IF passes_over THEN
        SELECT array_agg(free.id) INTO locked FROM (SELECT documents.id FROM documents
            WHERE documents.name = ANY (names) ORDER BY documents.id
            FOR NO KEY UPDATE SKIP LOCKED) AS free;
    ELSE
        SELECT array_agg(free.id) INTO locked FROM (SELECT documents.id FROM documents
            WHERE documents.name = ANY (names) ORDER BY documents.id
            FOR NO KEY UPDATE) AS free;
    END IF;
    locked := coalesce(locked, '{}');

    RETURN QUERY
    WITH given AS (
        SELECT * FROM unnest(names, epochs, ids, identities, doors, times_ms, checksums, contents,
                after_sequences, after_ids) WITH ORDINALITY
            AS one (name, epoch, id, identity, door, time_ms, checksum, content,
                after_sequence, after_id, place)
    ), recent AS MATERIALIZED (
        -- What a lost try stored is not far from the end: no node has more appends under way.
        SELECT appends.document_id, appends.id, appends.sequence FROM
            (SELECT DISTINCT documents.id, documents.head, documents.epoch
                FROM given JOIN documents ON documents.name = given.name) AS ends
            JOIN appends ON appends.document_id = ends.id AND appends.epoch = ends.epoch
              AND appends.sequence > ends.head - 65536
        WHERE repeats
    ), lost AS (
        SELECT points.* FROM
            (SELECT DISTINCT given.name, given.after_sequence, given.after_id FROM given
                WHERE given.after_id IS NOT NULL) AS points
            JOIN documents ON documents.name = points.name
        WHERE points.after_sequence > documents.trimmed_sequence
          AND NOT EXISTS (SELECT FROM appends WHERE appends.document_id = documents.id
            AND appends.sequence = points.after_sequence AND appends.id = points.after_id)
    ), judged AS (
        SELECT given.*, documents.id AS document_id, documents.head,
            documents.epoch AS present_epoch,
            documents.quarantine IS NOT NULL AS is_quarantined,
            lost.name IS NOT NULL AS is_lost,
            documents.id IS NOT NULL AND documents.id <> ALL (locked) AS is_busy,
            recent.sequence AS known,
            min(given.place) OVER (PARTITION BY documents.id, given.id) AS first_place
        FROM given LEFT JOIN documents ON documents.name = given.name
            LEFT JOIN recent ON recent.document_id = documents.id AND recent.id = given.id
            LEFT JOIN lost ON lost.name = given.name
              AND lost.after_sequence = given.after_sequence AND lost.after_id = given.after_id
    ), numbered AS (
        SELECT judged.*, head + row_number() OVER (PARTITION BY document_id ORDER BY judged.place)
            AS sequence
        FROM judged
        WHERE epoch = present_epoch AND known IS NULL AND NOT is_quarantined
          AND judged.place = first_place AND NOT is_lost
          AND NOT judged.is_busy
    ), stored AS (
        INSERT INTO appends (document_id, sequence, id, epoch, identity, door, time_ms, checksum,
            content)
        SELECT document_id, sequence, id, epoch, identity, door, time_ms, checksum, content
        FROM numbered
    ), counted AS (
        UPDATE documents SET head = more.head, log_bytes = log_bytes + more.bytes,
            oldest_ms = coalesce(documents.oldest_ms, more.oldest_ms),
            changed_ms = greatest(documents.changed_ms, more.changed_ms)
        FROM (SELECT document_id, max(sequence) AS head, sum(length(content)) AS bytes,
                min(time_ms) AS oldest_ms, max(time_ms) AS changed_ms
            FROM numbered GROUP BY document_id) AS more
        WHERE documents.id = more.document_id
    )
    SELECT judged.place,
        CASE WHEN judged.epoch = judged.present_epoch
            THEN coalesce(judged.known, numbered.sequence) END,
        coalesce(judged.present_epoch, 1),
        judged.is_lost AND judged.epoch = judged.present_epoch AND judged.known IS NULL,
        judged.is_busy
    FROM judged LEFT JOIN numbered
        ON numbered.document_id = judged.document_id AND numbered.place = judged.first_place
    ORDER BY judged.place;
END
$$;
