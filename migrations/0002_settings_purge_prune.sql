-- Settings of the fleet as a logged table (rule D1), and the upkeep of the log: a row that makes
-- every host drop what it has cached (F4, F5), and the one way to delete old rows (F6).

-- The log is read all the time: a migration that waits for its lock (behind a backup, say) makes all
-- readers wait behind it. Better to fail and be started again.
SET LOCAL lock_timeout = '5s';

-- The log ----------------------------------------------------------------------------------------

-- NOT VALID: whatever passed the narrower checks passes these, so nothing need be read for it.
ALTER TABLE public.changes
    DROP CONSTRAINT changes_op_check,
    ADD CONSTRAINT changes_op_check CHECK (op IN ('put', 'delete', 'purge', 'prune')) NOT VALID,
    DROP CONSTRAINT changes_body_with_put_only,
    ADD CONSTRAINT changes_body_with_put_or_prune_only CHECK (body IS NULL OR op IN ('put', 'prune')) NOT VALID;
COMMENT ON COLUMN public.changes.body IS
    'The record as it was put; of a prune, how many rows went and up to which position; NULL for a delete, for a purge, and where the log keeps a digest only.';

-- Only for functions that run as the owner: who may call it writes any row.
CREATE FUNCTION public.log_append(at_position bigint, of_tenant text, of_subject text, operation text, content text)
    RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.changes (position, tenant, subject, op, body, actor, request_id, reason)
    VALUES (
        at_position, of_tenant, of_subject, operation, content,
        -- A setting that some earlier transaction made is '' afterwards, not NULL.
        coalesce(nullif(current_setting('ordain.actor', true), ''), 'sql:' || session_user),
        nullif(current_setting('ordain.request_id', true), ''),
        nullif(current_setting('ordain.reason', true), '')
    );
    -- Only wakes the feeds; nothing depends on it, so it says nothing (F5).
    PERFORM pg_notify('ordain', '');
END
$$;
COMMENT ON FUNCTION public.log_append(bigint, text, text, text, text) IS
    'Appends a row at a position that log_next() gave to this transaction.';

-- Settings ---------------------------------------------------------------------------------------

CREATE TABLE public.settings (
    name     text COLLATE "C" PRIMARY KEY,
    value    text NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT settings_name_shape CHECK (name ~ '^[a-z][a-z.-]{0,62}$'),
    CONSTRAINT settings_value_size CHECK (pg_catalog.octet_length(value) <= 200),
    CONSTRAINT settings_cache_on_or_off CHECK (name !~ '^cache' OR value IN ('on', 'off')),
    CONSTRAINT settings_revision CHECK (revision > 0)
);
COMMENT ON TABLE public.settings IS
    'What the whole fleet goes by, such as the switches of its caches; what has no row is as configured. Every change is logged by triggers, an edit in SQL too.';
COMMENT ON COLUMN public.settings.value IS
    'Text. What a name means and which values it takes is the hosts'' to know, save that a cache is on or off: a host that cannot read a setting goes by its configuration.';
COMMENT ON COLUMN public.settings.revision IS
    'Position in the log of the change that wrote the row. Set by a trigger, whatever a statement says.';
COMMENT ON INDEX public.settings_pkey IS
    'One row of a name; hosts read the whole table, which has a handful of rows.';

-- Definer's rights: the service may write settings but not the log, yet its writes are logged.
CREATE FUNCTION public.settings_before() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.name IS DISTINCT FROM OLD.name THEN
        RAISE EXCEPTION 'the name of a setting cannot change (it is % and would become %)', OLD.name, NEW.name
            USING ERRCODE = 'integrity_constraint_violation',
                  HINT = 'Insert the new setting and delete the old one.';
    END IF;
    NEW.revision := public.log_next();
    RETURN NEW;
END
$$;
CREATE TRIGGER settings_before BEFORE INSERT OR UPDATE ON public.settings
    FOR EACH ROW EXECUTE FUNCTION public.settings_before();

-- AFTER, because an upsert fires BEFORE INSERT and then BEFORE UPDATE: it would be logged twice (O3).
CREATE FUNCTION public.settings_after() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM public.log_append(public.log_next(), NULL, 'setting/' || OLD.name, 'delete', NULL);
    ELSE
        PERFORM public.log_append(NEW.revision, NULL, 'setting/' || NEW.name, 'put', NEW.value);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER settings_after AFTER INSERT OR UPDATE OR DELETE ON public.settings
    FOR EACH ROW EXECUTE FUNCTION public.settings_after();

CREATE OR REPLACE FUNCTION public.refuse_truncate() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% cannot be truncated: no host would notice', TG_TABLE_NAME
        USING ERRCODE = 'feature_not_supported',
              HINT = 'Use DELETE on policies or settings, which is logged, or `ordain log prune`.';
END
$$;
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON public.settings
    FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_truncate();

-- Purge ------------------------------------------------------------------------------------------

CREATE FUNCTION public.log_purge(of_tenant text) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    given bigint;
BEGIN
    IF char_length(of_tenant) NOT BETWEEN 1 AND 128 OR of_tenant IN ('.', '..')
        OR of_tenant ~ '[\u0001-\u001f\u007f-\u009f]' THEN
        RAISE EXCEPTION 'this is no tenant: %', left(of_tenant, 200) USING ERRCODE = 'check_violation';
    END IF;
    given := public.log_next();
    PERFORM public.log_append(given, of_tenant, '*', 'purge', NULL);
    RETURN given;
END
$$;
COMMENT ON FUNCTION public.log_purge(text) IS
    'Every host drops what it has cached of this tenant, or (NULL) of all (F4). To follow what got past the triggers.';

-- Prune ------------------------------------------------------------------------------------------

-- The log is the audit trail: what is written stays as it was written, and goes only by log_prune(),
-- oldest first, which says here up to which position. Anybody could say so, but only the owner of the
-- table may delete at all, and an owner gets past any trigger (DISABLE TRIGGER): this stops the
-- mistake, not the intent.
CREATE OR REPLACE FUNCTION public.changes_stay() RETURNS trigger
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
CREATE FUNCTION public.log_prune(before timestamptz, keep bigint, most bigint, OUT pruned bigint, OUT revision bigint)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    stays   bigint;
    through bigint;
BEGIN
    pruned := 0;
    -- One at a time, of this function only: two would wait for each other's rows. The number is
    -- arbitrary ('ordain' in ASCII).
    PERFORM pg_advisory_xact_lock(122537101060462);
    -- Records of prunes do not count: or each of many prunes would push one more row out.
    SELECT position INTO stays FROM public.changes WHERE op <> 'prune'
        ORDER BY position DESC OFFSET greatest(keep, 1) - 1 LIMIT 1;
    -- A body of more than 2 kB lies in pieces of that size, each of which is a row to delete.
    SELECT max(position) INTO through FROM (
        SELECT position,
            bool_and(at < before) OVER oldest AS old,
            sum(weight) OVER oldest AS work,
            row_number() OVER oldest AS number
        FROM (
            SELECT position, at, 1 + coalesce(pg_column_size(body), 0) / 2000 AS weight
            FROM public.changes WHERE position < stays
            ORDER BY position LIMIT greatest(most, 1)
        ) AS front
        WINDOW oldest AS (ORDER BY position ROWS UNBOUNDED PRECEDING)
    ) AS measured
    WHERE old AND (work <= most OR number = 1);
    IF through IS NULL THEN
        RETURN;
    END IF;
    PERFORM set_config('ordain.prune_through', through::text, true);
    DELETE FROM public.changes WHERE position <= through;
    GET DIAGNOSTICS pruned = ROW_COUNT;
    PERFORM set_config('ordain.prune_through', '', true);
    revision := public.log_next();
    PERFORM public.log_append(revision, NULL, 'log', 'prune',
        format('{"rows":%s,"through":%s}', pruned, through));
END
$$;
COMMENT ON FUNCTION public.log_prune(timestamptz, bigint, bigint) IS
    'Deletes the oldest rows of the log that were written before a time, but never the newest `keep` nor the newest, and no more than `most` pieces of work in one transaction; records that (F6). Call again until it prunes none.';

-- What the service may ---------------------------------------------------------------------------

REVOKE ALL ON FUNCTION public.log_append(bigint, text, text, text, text), public.settings_before(),
    public.settings_after(), public.log_purge(text), public.log_prune(timestamptz, bigint, bigint) FROM PUBLIC;
REVOKE ALL ON public.settings FROM PUBLIC;
GRANT SELECT, INSERT (name, value), UPDATE (value), DELETE ON public.settings TO ordain_service;
GRANT EXECUTE ON FUNCTION public.log_purge(text), public.log_prune(timestamptz, bigint, bigint) TO ordain_service;
