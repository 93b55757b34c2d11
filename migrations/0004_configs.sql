-- Configs: the settings of conversations in three levels (global, tenant, user), one row each, as a
-- logged table. A level holds only the fields that were set; which value holds in the end is the
-- component's to say, not the database's.

SET LOCAL lock_timeout = '5s';

-- A user's config is its own subject, and ids are longer than what there was so far. NOT VALID:
-- whatever passed the narrower check passes this one.
ALTER TABLE public.changes
    DROP CONSTRAINT changes_subject_check,
    ADD CONSTRAINT changes_subject_size CHECK (subject <> '' AND pg_catalog.octet_length(subject) <= 600) NOT VALID;
COMMENT ON COLUMN public.changes.subject IS
    'Which record of the tenant or of the fleet: policy, config, config/<user>, setting/<name>; * for all, log for the log itself.';

-- Canonical text (RFC 8785) of a level: keys in order, absent where NULL, no spaces. Of a number from 0
-- to 1 Postgres writes the same digits as ECMAScript, in another notation below 0.0001.
CREATE FUNCTION public.config_text(
    auto_compact_enabled boolean, compaction_interval_minutes bigint, merge_compression_strategy text,
    merge_max_messages bigint, merge_preserve_pinned boolean, path_compression_strategy text,
    path_compression_threshold double precision, path_max_messages bigint, path_sliding_window_size bigint
) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1 AS $$
    SELECT '{' || concat_ws(',',
        '"autoCompactEnabled":' || auto_compact_enabled::text,
        '"compactionIntervalMinutes":' || compaction_interval_minutes,
        '"mergeCompressionStrategy":"' || merge_compression_strategy || '"',
        '"mergeMaxMessages":' || merge_max_messages,
        '"mergePreservePinned":' || merge_preserve_pinned::text,
        '"pathCompressionStrategy":"' || path_compression_strategy || '"',
        '"pathCompressionThreshold":' || CASE
            WHEN path_compression_threshold > 0 AND path_compression_threshold < 1e-6
                THEN replace(path_compression_threshold::text, 'e-0', 'e-')
            ELSE path_compression_threshold::text::numeric::text
        END,
        '"pathMaxMessages":' || path_max_messages,
        '"pathSlidingWindowSize":' || path_sliding_window_size
    ) || '}'
$$;
COMMENT ON FUNCTION public.config_text(boolean, bigint, text, bigint, boolean, text, double precision, bigint, bigint) IS
    'A level as hosts read it and as the history keeps it.';

CREATE TABLE public.configs (
    tenant   text COLLATE "C",
    user_id  text COLLATE "C",
    auto_compact_enabled        boolean,
    compaction_interval_minutes bigint,
    merge_compression_strategy  text,
    merge_max_messages          bigint,
    merge_preserve_pinned       boolean,
    path_compression_strategy   text,
    path_compression_threshold  double precision,
    path_max_messages           bigint,
    path_sliding_window_size    bigint,
    body text NOT NULL GENERATED ALWAYS AS (public.config_text(
        auto_compact_enabled, compaction_interval_minutes, merge_compression_strategy, merge_max_messages,
        merge_preserve_pinned, path_compression_strategy, path_compression_threshold, path_max_messages,
        path_sliding_window_size)) STORED,
    revision bigint NOT NULL,
    CONSTRAINT configs_user_has_tenant CHECK (user_id IS NULL OR tenant IS NOT NULL),
    CONSTRAINT configs_tenant_is_id CHECK (pg_catalog.char_length(tenant) BETWEEN 1 AND 128
        AND tenant !~ '[\u0001-\u001f\u007f-\u009f]' AND tenant NOT IN ('.', '..')),
    CONSTRAINT configs_user_is_id CHECK (pg_catalog.char_length(user_id) BETWEEN 1 AND 128
        AND user_id !~ '[\u0001-\u001f\u007f-\u009f]' AND user_id NOT IN ('.', '..')),
    -- 2^53 - 1: the largest integer that every reader of JSON keeps.
    CONSTRAINT configs_compaction_interval CHECK (compaction_interval_minutes BETWEEN 1 AND 9007199254740991),
    CONSTRAINT configs_merge_strategy CHECK (merge_compression_strategy IN ('none', 'minimal', 'moderate', 'aggressive')),
    CONSTRAINT configs_merge_max CHECK (merge_max_messages BETWEEN 1 AND 9007199254740991),
    CONSTRAINT configs_path_strategy CHECK (path_compression_strategy IN ('none', 'sliding_window', 'semantic', 'hybrid')),
    CONSTRAINT configs_path_threshold CHECK (path_compression_threshold BETWEEN 0 AND 1),
    CONSTRAINT configs_path_max CHECK (path_max_messages BETWEEN 1 AND 9007199254740991),
    CONSTRAINT configs_path_window CHECK (path_sliding_window_size BETWEEN 1 AND 9007199254740991),
    CONSTRAINT configs_revision CHECK (revision > 0)
);
COMMENT ON TABLE public.configs IS
    'One level of config a row: global (no tenant, no user), of a tenant (no user) or of a user. NULL in a field: this level does not set it. Every change is logged by triggers, an edit in SQL too.';
COMMENT ON COLUMN public.configs.body IS
    'The fields as canonical JSON text (RFC 8785), made from the columns: it cannot say anything else than they do.';
COMMENT ON COLUMN public.configs.revision IS
    'Position in the log of the change that wrote the row. Set by a trigger, whatever a statement says.';

-- A missing tenant or user is a value here: in a plain unique index NULLs never conflict, and a tenant
-- would get two rows of which nobody knows which one counts. No id is empty, so nothing collides.
CREATE UNIQUE INDEX configs_key ON public.configs (coalesce(tenant, ''), coalesce(user_id, ''));
COMMENT ON INDEX public.configs_key IS
    'One row of a level; a level is read by it (O5).';

-- Definer's rights: the service may write configs but not the log, yet its writes are logged.
CREATE FUNCTION public.configs_before() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.tenant IS DISTINCT FROM OLD.tenant OR NEW.user_id IS DISTINCT FROM OLD.user_id) THEN
        RAISE EXCEPTION 'the tenant and the user of a config cannot change'
            USING ERRCODE = 'integrity_constraint_violation',
                  HINT = 'Insert a config for the new one and delete the old one.';
    END IF;
    NEW.revision := public.log_next();
    RETURN NEW;
END
$$;
CREATE TRIGGER configs_before BEFORE INSERT OR UPDATE ON public.configs
    FOR EACH ROW EXECUTE FUNCTION public.configs_before();

-- AFTER, because an upsert fires BEFORE INSERT and then BEFORE UPDATE: it would be logged twice (O3).
CREATE FUNCTION public.configs_after() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM public.log_append(public.log_next(), OLD.tenant, 'config' || coalesce('/' || OLD.user_id, ''), 'delete', NULL);
    ELSE
        PERFORM public.log_append(NEW.revision, NEW.tenant, 'config' || coalesce('/' || NEW.user_id, ''), 'put', NEW.body);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER configs_after AFTER INSERT OR UPDATE OR DELETE ON public.configs
    FOR EACH ROW EXECUTE FUNCTION public.configs_after();

CREATE OR REPLACE FUNCTION public.refuse_truncate() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% cannot be truncated: no host would notice', TG_TABLE_NAME
        USING ERRCODE = 'feature_not_supported',
              HINT = 'Use DELETE on policies, configs or settings, which is logged, or `ordain log prune`.';
END
$$;
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON public.configs
    FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_truncate();

-- What the service may ---------------------------------------------------------------------------

REVOKE ALL ON FUNCTION public.configs_before(), public.configs_after() FROM PUBLIC;
REVOKE ALL ON public.configs FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.configs TO ordain_service;
