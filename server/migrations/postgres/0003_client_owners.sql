-- Whose client ids of a document are: the identity that wrote under one first, while ids are bound.
-- A row is written in the transaction that stores the append; the first one counts.
CREATE TABLE client_owners (
    document_id bigint NOT NULL,
    -- Rows of an epoch that has ended say nothing.
    epoch bigint NOT NULL,
    client bigint NOT NULL,
    -- The append that brought it.
    sequence bigint NOT NULL,
    -- As bytes; NULL: nobody, who is whoever has no identity.
    owner bytea,
    PRIMARY KEY (document_id, epoch, client)
);

-- Appends a batch and stores its claims: `claim_places` tells for each which append of the batch it
-- came with. Claims of what was not stored go with it. Of a try that went through and whose answer was
-- lost, all claims are there.
CREATE FUNCTION append_batch_with_claims(
    attempt uuid, doubtful uuid[],
    names bytea[], epochs bigint[], ids uuid[], identities text[], doors text[],
    times_ms bigint[], checksums bigint[], contents bytea[],
    after_sequences bigint[], after_ids uuid[], passes_over boolean,
    claim_places bigint[], claim_clients bigint[], claim_owners bytea[]
) RETURNS TABLE (place bigint, given_sequence bigint, current_epoch bigint, is_log_lost boolean,
    is_busy boolean)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    told_places bigint[];
    told_sequences bigint[];
    told_epochs bigint[];
    told_lost boolean[];
    told_busy boolean[];
BEGIN
    SELECT array_agg(told.place), array_agg(told.given_sequence), array_agg(told.current_epoch),
            array_agg(told.is_log_lost), array_agg(told.is_busy)
        INTO told_places, told_sequences, told_epochs, told_lost, told_busy
        FROM append_batch(attempt, doubtful, names, epochs, ids, identities, doors, times_ms,
            checksums, contents, after_sequences, after_ids, passes_over) AS told;

    -- In the order of the log, so that of two claims in one batch the first one counts.
    INSERT INTO client_owners (document_id, epoch, client, sequence, owner)
        SELECT documents.id, documents.epoch, claims.client, told.sequence, claims.owner
        FROM unnest(claim_places, claim_clients, claim_owners) WITH ORDINALITY
                AS claims (place, client, owner, number)
            JOIN unnest(told_places, told_sequences) AS told (place, sequence)
                ON told.place = claims.place
            JOIN documents ON documents.name = names[claims.place]
        WHERE told.sequence IS NOT NULL
        ORDER BY documents.id, told.sequence, claims.number
        ON CONFLICT DO NOTHING;

    RETURN QUERY
        SELECT * FROM unnest(told_places, told_sequences, told_epochs, told_lost, told_busy);
END
$$;
