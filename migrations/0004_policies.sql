-- One policy of each tenant that has one, as a logged table.

-- Size and outer structure, so that an edit in SQL cannot store what is no record at all. The rules
-- of a policy are the component's, not the database's.
CREATE FUNCTION {schema}.policy_is_sound(body text) RETURNS boolean
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
    EXCEPTION WHEN invalid_text_representation THEN
        RAISE EXCEPTION 'the body of a policy is JSON, this is not: %', left(body, 60)
            USING ERRCODE = 'check_violation', CONSTRAINT = 'policies_body_sound', TABLE = 'policies';
    END;
    IF json_typeof(parsed) <> 'object' THEN
        fault := format('the body of a policy is a JSON object, this is of type %s', json_typeof(parsed));
    ELSIF parsed -> 'defaultProvider' IS NULL OR parsed -> 'defaultModel' IS NULL THEN
        fault := 'a policy has a defaultProvider and a defaultModel';
    ELSE
        FOR member IN SELECT key, value FROM json_each(parsed) LOOP
            wanted := CASE member.key
                WHEN 'defaultProvider' THEN 'string'
                WHEN 'defaultModel' THEN 'string'
                WHEN 'egressMode' THEN 'string'
                WHEN 'allowRemoteEgress' THEN 'boolean'
                WHEN 'allowOffMode' THEN 'boolean'
                WHEN 'tasks' THEN 'array'
                WHEN 'allowedModels' THEN 'array'
                WHEN 'userPolicies' THEN 'object'
            END;
            IF member.key = ANY (seen) THEN
                fault := format('%s of a policy is there more than once', member.key);
            ELSIF json_typeof(member.value) <> wanted THEN
                fault := format('%s of a policy is of type %s, not %s', member.key, wanted, json_typeof(member.value));
            ELSIF member.key IN ('defaultProvider', 'defaultModel') AND member.value::text = '""' THEN
                fault := format('%s of a policy is not empty', member.key);
            END IF;
            seen := seen || member.key;
        END LOOP;
    END IF;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION '%', fault
            USING ERRCODE = 'check_violation', CONSTRAINT = 'policies_body_sound', TABLE = 'policies';
    END IF;
    RETURN true;
END
$$;
COMMENT ON FUNCTION {schema}.policy_is_sound(text) IS
    'True, or an error that says what is wrong: a plain CHECK could only say that something is.';

CREATE TABLE {schema}.policies (
    tenant   text COLLATE "C" PRIMARY KEY,
    body     text NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT policies_tenant_length CHECK (pg_catalog.char_length(tenant) BETWEEN 1 AND 256),
    CONSTRAINT policies_tenant_no_controls CHECK (tenant !~ '[\u0001-\u001f\u007f-\u009f]'),
    CONSTRAINT policies_tenant_no_dots CHECK (tenant NOT IN ('.', '..')),
    -- CHECKs run in the order of their names: this one before the body is parsed.
    CONSTRAINT policies_body_size CHECK (pg_catalog.octet_length(body) <= 262144),
    CONSTRAINT policies_body_sound CHECK ({schema}.policy_is_sound(body)),
    CONSTRAINT policies_revision CHECK (revision > 0)
);
COMMENT ON TABLE {schema}.policies IS
    'One policy of each tenant that has one. Every change is logged by triggers, an edit in SQL too.';
COMMENT ON COLUMN {schema}.policies.body IS
    'JSON text: canonical (RFC 8785) where the service wrote it. Text, because hosts hand it on byte by byte.';
COMMENT ON COLUMN {schema}.policies.revision IS
    'Position in the log of the change that wrote the row. Set by a trigger, whatever a statement says.';
COMMENT ON INDEX {schema}.policies_pkey IS
    'A policy is read by its tenant (O5); the list of tenants is a walk along this index, in byte order.';

-- Definer's rights: the service may write policies but not the log, yet its writes are logged.
CREATE FUNCTION {schema}.policies_before() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.tenant IS DISTINCT FROM OLD.tenant THEN
        RAISE EXCEPTION 'the tenant of a policy cannot change (it is % and would become %)', OLD.tenant, NEW.tenant
            USING ERRCODE = 'integrity_constraint_violation',
                  HINT = 'Insert a policy for the new tenant and delete the old one.';
    END IF;
    NEW.revision := {schema}.log_next();
    RETURN NEW;
END
$$;
CREATE TRIGGER policies_before BEFORE INSERT OR UPDATE ON {schema}.policies
    FOR EACH ROW EXECUTE FUNCTION {schema}.policies_before();

-- AFTER, because an upsert fires BEFORE INSERT and then BEFORE UPDATE: it would be logged twice (O3).
CREATE FUNCTION {schema}.policies_after() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM {schema}.log_append({schema}.log_next(), OLD.tenant, 'policy', 'delete', NULL);
    ELSE
        PERFORM {schema}.log_append(NEW.revision, NEW.tenant, 'policy', 'put', NEW.body);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER policies_after AFTER INSERT OR UPDATE OR DELETE ON {schema}.policies
    FOR EACH ROW EXECUTE FUNCTION {schema}.policies_after();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {schema}.policies
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_truncate();

ALTER TABLE {schema}.policies ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON {schema}.policies
    USING (tenant = pg_catalog.current_setting('ordain.tenant', true))
    WITH CHECK (tenant = pg_catalog.current_setting('ordain.tenant', true));
COMMENT ON POLICY own_tenant ON {schema}.policies IS
    'For every role, the owner of the table included: the rows of the tenant of this transaction.';
CREATE POLICY all_tenants ON {schema}.policies TO ordain_service
    USING (CASE WHEN current_user = 'ordain_service' THEN true ELSE false END)
    WITH CHECK (CASE WHEN current_user = 'ordain_service' THEN true ELSE false END);
COMMENT ON POLICY all_tenants ON {schema}.policies IS
    'Work that concerns all tenants: of who has become ordain_service, not of its members.';

REVOKE ALL ON FUNCTION {schema}.policies_before(), {schema}.policies_after() FROM PUBLIC;
REVOKE ALL ON {schema}.policies FROM PUBLIC;
GRANT SELECT, INSERT (tenant, body), UPDATE (body), DELETE ON {schema}.policies TO ordain_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.policies TO ordain_service;
