-- Configs: the settings of conversations in three levels (global, tenant, user), one row each, as a logged
-- table. A level holds only the fields that were set; which value holds in the end is the component's to say,
-- not the database's.

-- Names, types and ranges, so that an edit in SQL cannot store what is no level, and a component that knows more
-- fields cannot before the database does.
CREATE FUNCTION {schema}.config_is_sound(body text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parsed json;
    fault  text;
    member record;
    wanted text;
    seen   text[] := '{}';
BEGIN
    BEGIN
        parsed := body::json;
        -- Texts that no reader of JSON can have, which are JSON all the same (U+0000, half a surrogate).
        PERFORM body::jsonb;
    EXCEPTION WHEN invalid_text_representation OR untranslatable_character OR numeric_value_out_of_range THEN
        RAISE EXCEPTION 'the body of a config is JSON, this is not: %', left(body, 60)
            USING ERRCODE = 'check_violation', CONSTRAINT = 'configs_body_sound', TABLE = 'configs';
    END;
    IF json_typeof(parsed) <> 'object' THEN
        fault := format('the body of a config is a JSON object, this is of type %s', json_typeof(parsed));
    ELSE
        FOR member IN SELECT key, value, value #>> '{}' AS content FROM json_each(parsed) LOOP
            wanted := CASE
                WHEN member.key IN ('autoCompactEnabled', 'mergePreservePinned') THEN
                    CASE WHEN json_typeof(member.value) <> 'boolean' THEN 'true or false' END
                WHEN member.key IN ('compactionIntervalMinutes', 'mergeMaxMessages', 'pathMaxMessages',
                        'pathSlidingWindowSize') THEN
                    -- 2^53 - 1: the largest integer that every reader of JSON keeps.
                    CASE WHEN json_typeof(member.value) <> 'number' THEN 'an integer from 1 to 9007199254740991'
                        WHEN member.content::numeric NOT BETWEEN 1 AND 9007199254740991
                            OR member.content::numeric % 1 <> 0 THEN 'an integer from 1 to 9007199254740991' END
                WHEN member.key = 'pathCompressionThreshold' THEN
                    CASE WHEN json_typeof(member.value) <> 'number' THEN 'a number from 0 to 1'
                        WHEN member.content::numeric NOT BETWEEN 0 AND 1 THEN 'a number from 0 to 1' END
                WHEN member.key = 'mergeCompressionStrategy' THEN
                    CASE WHEN json_typeof(member.value) <> 'string'
                            OR member.content NOT IN ('none', 'minimal', 'moderate', 'aggressive')
                        THEN 'none, minimal, moderate or aggressive' END
                WHEN member.key = 'pathCompressionStrategy' THEN
                    CASE WHEN json_typeof(member.value) <> 'string'
                            OR member.content NOT IN ('none', 'sliding_window', 'semantic', 'hybrid')
                        THEN 'none, sliding_window, semantic or hybrid' END
                ELSE ''
            END;
            IF member.key = ANY (seen) THEN
                fault := format('%s of a config is there more than once', member.key);
            ELSIF wanted = '' THEN
                fault := format('%s is no field of a config', left(member.key, 60));
            ELSIF wanted IS NOT NULL THEN
                fault := format('%s of a config is %s, not %s', member.key, wanted, left(member.value::text, 60));
            END IF;
            seen := seen || member.key;
        END LOOP;
    END IF;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION '%', fault
            USING ERRCODE = 'check_violation', CONSTRAINT = 'configs_body_sound', TABLE = 'configs';
    END IF;
    RETURN true;
END
$$;
COMMENT ON FUNCTION {schema}.config_is_sound(text) IS
    'True, or an error that says what is wrong: a plain CHECK could only say that something is.';

CREATE TABLE {schema}.configs (
    tenant   text COLLATE "C",
    user_id  text COLLATE "C",
    body     text NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT configs_user_has_tenant CHECK (user_id IS NULL OR tenant IS NOT NULL),
    CONSTRAINT configs_tenant_is_id CHECK (pg_catalog.char_length(tenant) BETWEEN 1 AND 256
        AND tenant !~ '[\u0001-\u001f\u007f-\u009f]' AND tenant NOT IN ('.', '..')),
    CONSTRAINT configs_user_is_id CHECK (pg_catalog.char_length(user_id) BETWEEN 1 AND 256
        AND user_id !~ '[\u0001-\u001f\u007f-\u009f]' AND user_id NOT IN ('.', '..')),
    -- CHECKs run in the order of their names: this one before the body is parsed.
    CONSTRAINT configs_body_size CHECK (pg_catalog.octet_length(body) <= 262144),
    CONSTRAINT configs_body_sound CHECK ({schema}.config_is_sound(body)),
    CONSTRAINT configs_revision CHECK (revision > 0)
);
COMMENT ON TABLE {schema}.configs IS
    'One level of config a row: global (no tenant, no user), of a tenant (no user) or of a user. Every change is logged by triggers, an edit in SQL too.';
COMMENT ON COLUMN {schema}.configs.body IS
    'The fields that this level sets, as JSON text: canonical (RFC 8785) where the service wrote it.';
COMMENT ON COLUMN {schema}.configs.revision IS
    'Position in the log of the change that wrote the row. Set by a trigger, whatever a statement says.';

-- A missing tenant or user is a value here: in a plain unique index NULLs never conflict, and a tenant
-- would get two rows of which nobody knows which one counts. No id is empty, so nothing collides.
CREATE UNIQUE INDEX configs_key ON {schema}.configs (coalesce(tenant, ''), coalesce(user_id, ''));
COMMENT ON INDEX {schema}.configs_key IS
    'One row of a level; for conflicts only, since row level security keeps reads from it.';

-- Under row level security conditions on expressions such as coalesce(tenant, '') are not looked up in an
-- index: without this one every config would be read through the whole table.
CREATE INDEX configs_by_level ON {schema}.configs (tenant NULLS FIRST, user_id NULLS FIRST);
COMMENT ON INDEX {schema}.configs_by_level IS
    'A level is read by it, and levels are listed along it (O5).';

-- Definer's rights: the service may write configs but not the log, yet its writes are logged.
CREATE FUNCTION {schema}.configs_before() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.tenant IS DISTINCT FROM OLD.tenant OR NEW.user_id IS DISTINCT FROM OLD.user_id) THEN
        RAISE EXCEPTION 'the tenant and the user of a config cannot change'
            USING ERRCODE = 'integrity_constraint_violation',
                  HINT = 'Insert a config for the new one and delete the old one.';
    END IF;
    NEW.revision := {schema}.log_next();
    RETURN NEW;
END
$$;
CREATE TRIGGER configs_before BEFORE INSERT OR UPDATE ON {schema}.configs
    FOR EACH ROW EXECUTE FUNCTION {schema}.configs_before();

-- AFTER, because an upsert fires BEFORE INSERT and then BEFORE UPDATE: it would be logged twice (O3).
CREATE FUNCTION {schema}.configs_after() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM {schema}.log_append({schema}.log_next(), OLD.tenant, 'config' || coalesce('/' || OLD.user_id, ''), 'delete', NULL);
    ELSE
        PERFORM {schema}.log_append(NEW.revision, NEW.tenant, 'config' || coalesce('/' || NEW.user_id, ''), 'put', NEW.body);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER configs_after AFTER INSERT OR UPDATE OR DELETE ON {schema}.configs
    FOR EACH ROW EXECUTE FUNCTION {schema}.configs_after();

CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {schema}.configs
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_truncate();

ALTER TABLE {schema}.configs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON {schema}.configs
    USING (tenant = pg_catalog.current_setting('ordain.tenant', true))
    WITH CHECK (tenant = pg_catalog.current_setting('ordain.tenant', true));
COMMENT ON POLICY own_tenant ON {schema}.configs IS
    'For every role, the owner of the table included: the rows of the tenant of this transaction.';
CREATE POLICY global_is_read ON {schema}.configs FOR SELECT
    USING (tenant IS NULL AND pg_catalog.current_setting('ordain.tenant', true) <> '');
COMMENT ON POLICY global_is_read ON {schema}.configs IS
    'The global level is part of every tenant''s config; who works for a tenant reads it and cannot write it.';
CREATE POLICY all_tenants ON {schema}.configs TO ordain_service
    USING (CASE WHEN current_user = 'ordain_service' THEN true ELSE false END)
    WITH CHECK (CASE WHEN current_user = 'ordain_service' THEN true ELSE false END);
COMMENT ON POLICY all_tenants ON {schema}.configs IS
    'Work that concerns all tenants: of who has become ordain_service, not of its members.';

REVOKE ALL ON FUNCTION {schema}.configs_before(), {schema}.configs_after() FROM PUBLIC;
REVOKE ALL ON {schema}.configs FROM PUBLIC;
GRANT SELECT, INSERT (tenant, user_id, body), UPDATE (body), DELETE ON {schema}.configs TO ordain_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.configs TO ordain_service;
