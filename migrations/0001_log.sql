-- The change log and the lock that orders it: what every host follows, and at the same time history and
-- audit trail. The rules O1 to O5 and F2 to F6 that the comments cite are explained in docs/architecture.md.
-- Needs the roles of role.sql. `{schema}` stands for the name of the schema, which is an option
-- (ORDAIN_SCHEMA); the runner puts it in.
--
-- All names are qualified and every function has its search_path pinned: what somebody else puts first in a
-- search_path must not be what a trigger runs.

DO $$
BEGIN
    -- Tenants are listed in byte order (COLLATE "C"), which is the order of code points in UTF-8 only.
    IF pg_catalog.current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION 'Ordain needs a database with the encoding UTF8, this one has %',
            pg_catalog.current_setting('server_encoding')
            USING HINT = 'CREATE DATABASE ordain ENCODING ''UTF8'' TEMPLATE template0';
    END IF;
END
$$;

-- The log ----------------------------------------------------------------------------------------

CREATE TABLE {schema}.changes (
    position   bigint PRIMARY KEY CHECK (position > 0),
    tenant     text COLLATE "C",
    subject    text COLLATE "C" NOT NULL,
    op         text NOT NULL,
    body       text,
    actor      text NOT NULL CHECK (actor <> ''),
    request_id text,
    reason     text,
    at         timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    -- config/<user>, and no character has more than four bytes. An entry of the index changes_history (tenant
    -- and subject) then has at most 2,100 bytes, of the 2,700 that one may have.
    CONSTRAINT changes_subject_size CHECK (subject <> '' AND pg_catalog.octet_length(subject) <= 1031),
    CONSTRAINT changes_op_check CHECK (op IN ('put', 'delete', 'purge', 'prune')),
    CONSTRAINT changes_body_with_put_or_prune_only CHECK (body IS NULL OR op IN ('put', 'prune'))
);
COMMENT ON TABLE {schema}.changes IS
    'The change log: what every host follows, and at the same time history and audit trail. Written by triggers only.';
COMMENT ON COLUMN {schema}.changes.position IS
    'Grows, has gaps, is never given out twice (O1). From log_next() only: a sequence would hand positions out in an order other than that of the commits.';
COMMENT ON COLUMN {schema}.changes.tenant IS
    'Whose record changed; NULL: the fleet''s. NULL, so that no tenant id can collide with it.';
COMMENT ON COLUMN {schema}.changes.subject IS
    'Which record of the tenant or of the fleet: policy, config, config/<user>, setting/<name>; * for all, log for the log itself.';
COMMENT ON COLUMN {schema}.changes.body IS
    'The record as it was put; of a prune, how many rows went and up to which position; NULL for a delete, for a purge, and where the log keeps a digest only.';
COMMENT ON COLUMN {schema}.changes.actor IS
    'Who did it: what the service was told, or sql:<role> for an edit in SQL.';
COMMENT ON INDEX {schema}.changes_pkey IS
    'The feed reads the log by position, from its watermark or from the newest end (F2, F3); the head of the log is its last entry (O5).';

-- For the history of one tenant, newest first and page by page, without its neighbours' rows.
CREATE INDEX changes_history ON {schema}.changes (tenant, subject, position DESC);
COMMENT ON INDEX {schema}.changes_history IS 'History of a record, newest first, page by page.';

CREATE TABLE {schema}.log_head (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint NOT NULL CHECK (position >= 0)
);
COMMENT ON TABLE {schema}.log_head IS
    'One row, whose lock is the lock of the log, held until commit: positions become visible in order (O2). The head of the log is max(position) of changes, not this position.';
COMMENT ON INDEX {schema}.log_head_pkey IS 'With the CHECK: there is one row and no other.';
INSERT INTO {schema}.log_head (position) VALUES (0);

CREATE FUNCTION {schema}.log_next() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    given bigint;
BEGIN
    UPDATE {schema}.log_head
        SET position = greatest(position + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
        WHERE one
        RETURNING position INTO STRICT given;
    -- Clients have numbers of 53 bits. Stops a little before them, so that what is given out by mistake can
    -- be looked at.
    IF given > 9007199254740992 - 4294967296 THEN
        RAISE EXCEPTION 'the log has no more positions: % is too near to 2^53 (the year 2255)', given
            USING ERRCODE = 'program_limit_exceeded',
                  HINT = 'Nothing was written. Is the clock of the server right? If somebody moved log_head: restore the database from before that.';
    END IF;
    RETURN given;
END
$$;
COMMENT ON FUNCTION {schema}.log_next() IS
    'The next position (O1, O2): takes the lock of the log until the end of the transaction; a rollback gives the position back.';

CREATE FUNCTION {schema}.log_head_grows() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'log_head has exactly one row, it cannot be deleted'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.position <= OLD.position THEN
        RAISE EXCEPTION 'the position of the log only grows: % does not follow %', NEW.position, OLD.position
            USING ERRCODE = 'integrity_constraint_violation',
                  HINT = 'Positions must never be given out twice (rule O1).';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER log_head_grows BEFORE UPDATE OR DELETE ON {schema}.log_head
    FOR EACH ROW EXECUTE FUNCTION {schema}.log_head_grows();

-- Only for functions that run as the owner: who may call it writes any row.
CREATE FUNCTION {schema}.log_append(at_position bigint, of_tenant text, of_subject text, operation text, content text)
    RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO {schema}.changes (position, tenant, subject, op, body, actor, request_id, reason)
    VALUES (
        at_position, of_tenant, of_subject, operation, content,
        -- A setting that some earlier transaction made is '' afterwards, not NULL.
        coalesce(nullif(current_setting('ordain.actor', true), ''), 'sql:' || session_user),
        nullif(current_setting('ordain.request_id', true), ''),
        nullif(current_setting('ordain.reason', true), '')
    );
    -- Only wakes the feeds; nothing depends on it, so it says nothing (F5). The channel is the schema's.
    PERFORM pg_notify('{schema}', '');
END
$$;
COMMENT ON FUNCTION {schema}.log_append(bigint, text, text, text, text) IS
    'Appends a row at a position that log_next() gave to this transaction.';

-- A TRUNCATE fires no row trigger: it would change everything and log nothing (O3).
CREATE FUNCTION {schema}.refuse_truncate() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% cannot be truncated: no host would notice', TG_TABLE_NAME
        USING ERRCODE = 'feature_not_supported',
              HINT = 'Use DELETE on policies, configs or settings, which is logged, or `ordain log prune`.';
END
$$;
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {schema}.changes
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_truncate();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {schema}.log_head
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_truncate();

-- The log is the audit trail: what is written stays as it was written, and goes only by log_prune(),
-- oldest first, which says here up to which position. Anybody could say so, but only the owner of the
-- table may delete at all, and an owner gets past any trigger (DISABLE TRIGGER): this stops the
-- mistake, not the intent.
CREATE FUNCTION {schema}.changes_stay() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE'
        AND OLD.position <= nullif(current_setting('ordain.prune_through', true), '')::bigint THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the change log is append-only: % of position % is refused', TG_OP, OLD.position
        USING ERRCODE = 'integrity_constraint_violation',
              HINT = 'Old rows go by `ordain log prune`.';
END
$$;
CREATE TRIGGER changes_stay BEFORE UPDATE OR DELETE ON {schema}.changes
    FOR EACH ROW EXECUTE FUNCTION {schema}.changes_stay();

-- Purge ------------------------------------------------------------------------------------------

CREATE FUNCTION {schema}.log_purge(of_tenant text) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    given bigint;
BEGIN
    IF char_length(of_tenant) NOT BETWEEN 1 AND 256 OR of_tenant IN ('.', '..')
        OR of_tenant ~ '[\u0001-\u001f\u007f-\u009f]' THEN
        RAISE EXCEPTION 'this is no tenant: %', left(of_tenant, 200) USING ERRCODE = 'check_violation';
    END IF;
    given := {schema}.log_next();
    PERFORM {schema}.log_append(given, of_tenant, '*', 'purge', NULL);
    RETURN given;
END
$$;
COMMENT ON FUNCTION {schema}.log_purge(text) IS
    'Every host drops what it has cached of this tenant, or (NULL) of all (F4). To follow what got past the triggers.';

-- Prune ------------------------------------------------------------------------------------------

-- Why this cannot make an answer wrong (F2, F3, V):
-- * Rows go from the oldest end without a gap, so a host whose watermark is still there has missed
--   nothing that came after it; one whose watermark is gone notices and starts anew. Therefore rows
--   go up to the first that is young enough to stay, not by age alone: a primary whose clock was put
--   back has written younger positions with an older time.
-- * The row that records it is committed with the deletion, above all that is deleted. A later prune
--   may delete it, and writes another: a log that was ever pruned shows so, and no host takes what
--   is left for the whole log.
-- READ COMMITTED and no lock of the log until the record is written: writers never wait for the
-- deletion.
CREATE FUNCTION {schema}.log_prune(before timestamptz, keep bigint, most bigint, OUT pruned bigint, OUT revision bigint)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    stays   bigint;
    through bigint;
BEGIN
    pruned := 0;
    -- One at a time, of this function only: two would wait for each other's rows. Of this
    -- schema: there may be several in one database.
    PERFORM pg_advisory_xact_lock(hashtextextended('ordain prune {schema}', 0));
    -- Records of prunes do not count: or each of many prunes would push one more row out.
    SELECT position INTO stays FROM {schema}.changes WHERE op <> 'prune'
        ORDER BY position DESC OFFSET greatest(keep, 1) - 1 LIMIT 1;
    -- A body of more than 2 kB lies in pieces of that size, each of which is a row to delete.
    SELECT max(position) INTO through FROM (
        SELECT position,
            bool_and(at < before) OVER oldest AS old,
            sum(weight) OVER oldest AS work,
            row_number() OVER oldest AS number
        FROM (
            SELECT position, at, 1 + coalesce(pg_column_size(body), 0) / 2000 AS weight
            FROM {schema}.changes WHERE position < stays
            ORDER BY position LIMIT greatest(most, 1)
        ) AS front
        WINDOW oldest AS (ORDER BY position ROWS UNBOUNDED PRECEDING)
    ) AS measured
    WHERE old AND (work <= most OR number = 1);
    IF through IS NULL THEN
        RETURN;
    END IF;
    PERFORM set_config('ordain.prune_through', through::text, true);
    DELETE FROM {schema}.changes WHERE position <= through;
    GET DIAGNOSTICS pruned = ROW_COUNT;
    PERFORM set_config('ordain.prune_through', '', true);
    revision := {schema}.log_next();
    PERFORM {schema}.log_append(revision, NULL, 'log', 'prune',
        format('{"rows":%s,"through":%s}', pruned, through));
END
$$;
COMMENT ON FUNCTION {schema}.log_prune(timestamptz, bigint, bigint) IS
    'Deletes the oldest rows of the log that were written before a time, but never the newest `keep` nor the newest, and no more than `most` pieces of work in one transaction; records that (F6). Call again until it prunes none.';

-- Whose rows -------------------------------------------------------------------------------------

-- One tenant at a time: the role in which hosts work for a tenant sees the rows of that tenant only, whatever
-- a statement asks for. The database is the last of several locks (the component cannot name a tenant, a call
-- is bound to one, tokens name one): it holds when a statement of the host is wrong.
--
-- A host says whose work it does by the setting `ordain.tenant`, for one transaction. Unset, it is NULL or '',
-- which no tenant is called: nothing is seen. Roles: `ordain_tenant` for the work of one tenant and for
-- following the log; `ordain_service` for what concerns all of them: who has become it, not who may (membership
-- is what lets a host become it, and with inheritance the policies of a role apply to its members as well).
-- In a CASE, since the planner takes a comparison for one that holds of one row in two hundred, and sorts the
-- whole table for a page of a list.

-- Bodies and who wrote them belong to the tenant. Positions do not: an as-of that counts one tenant's
-- rows only would be wrong (O5), and a feed has to see everything (F3).
ALTER TABLE {schema}.changes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON {schema}.changes FOR SELECT
    USING (tenant = pg_catalog.current_setting('ordain.tenant', true));
COMMENT ON POLICY own_tenant ON {schema}.changes IS 'The history of the tenant of this transaction.';
CREATE POLICY all_tenants ON {schema}.changes FOR SELECT TO ordain_service
    USING (CASE WHEN current_user = 'ordain_service' THEN true ELSE false END);
COMMENT ON POLICY all_tenants ON {schema}.changes IS
    'Work that concerns all tenants: of who has become ordain_service, not of its members.';
-- The triggers, log_prune() and the view below run with the rights of the table's owner. Given to another role
-- later, the table wants the policy for that one: rights.sql sees to it at the next migration, and until then
-- feeds refuse a log that shows nothing though it is not empty.
CREATE POLICY owner_keeps_the_log ON {schema}.changes TO CURRENT_USER USING (true) WITH CHECK (true);
COMMENT ON POLICY owner_keeps_the_log ON {schema}.changes IS
    'The functions and the view that run with the owner''s rights append, prune and show positions.';

CREATE VIEW {schema}.log AS SELECT position, tenant, subject, op, at FROM {schema}.changes;
COMMENT ON VIEW {schema}.log IS
    'The whole log without what was written and by whom: what feeds follow, and what the head of the log is taken from.';

-- What the roles may -----------------------------------------------------------------------------

GRANT USAGE ON SCHEMA "{schema}" TO ordain_tenant, ordain_service;
REVOKE ALL ON FUNCTION {schema}.log_next(), {schema}.log_head_grows(), {schema}.refuse_truncate(),
    {schema}.changes_stay(), {schema}.log_append(bigint, text, text, text, text), {schema}.log_purge(text),
    {schema}.log_prune(timestamptz, bigint, bigint) FROM PUBLIC;
REVOKE ALL ON {schema}.changes, {schema}.log_head, {schema}.log FROM PUBLIC;
GRANT SELECT ON {schema}.changes, {schema}.log_head, {schema}.log TO ordain_tenant, ordain_service;
-- FOR UPDATE asks for the right to update some column: the one that can have one value only.
GRANT UPDATE (one) ON {schema}.log_head TO ordain_service, ordain_tenant;
GRANT EXECUTE ON FUNCTION {schema}.log_purge(text), {schema}.log_prune(timestamptz, bigint, bigint) TO ordain_service;
-- So that a host that does not migrate can see whether somebody else did.
GRANT SELECT ON {schema}._sqlx_migrations TO ordain_service;
