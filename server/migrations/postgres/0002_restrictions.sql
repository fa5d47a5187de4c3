-- Access that operators took back: upper bounds on what some may do, on all nodes. Names are bytes;
-- times are milliseconds since 1970.
CREATE TABLE restrictions (
    id text PRIMARY KEY,
    -- Whom it concerns: all that is not NULL has to fit. A star in a document stands for any run.
    document bytea,
    subject bytea,
    token_id bytea,
    right_max text NOT NULL CHECK (right_max IN ('none', 'read', 'comment')),
    since_ms bigint NOT NULL,
    until_ms bigint,
    issued_before_ms bigint,
    reason text NOT NULL,
    CHECK (coalesce(document, subject, token_id) IS NOT NULL)
);
