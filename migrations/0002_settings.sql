-- Settings of the fleet as a logged table (rule D1).

CREATE TABLE {schema}.settings (
    name     text COLLATE "C" PRIMARY KEY,
    value    text NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT settings_name_shape CHECK (name ~ '^[a-z][a-z.-]{0,62}$'),
    CONSTRAINT settings_value_size CHECK (pg_catalog.octet_length(value) <= 200),
    CONSTRAINT settings_cache_on_or_off CHECK (name !~ '^cache' OR value IN ('on', 'off')),
    CONSTRAINT settings_revision CHECK (revision > 0)
);
COMMENT ON TABLE {schema}.settings IS
    'What the whole fleet goes by, such as the switches of its caches; what has no row is as configured. Every change is logged by triggers, an edit in SQL too.';
COMMENT ON COLUMN {schema}.settings.value IS
    'Text. What a name means and which values it takes is the hosts'' to know, save that a cache is on or off: a host that cannot read a setting goes by its configuration.';
COMMENT ON COLUMN {schema}.settings.revision IS
    'Position in the log of the change that wrote the row. Set by a trigger, whatever a statement says.';
COMMENT ON INDEX {schema}.settings_pkey IS
    'One row of a name; hosts read the whole table, which has a handful of rows.';

-- Definer's rights: the service may write settings but not the log, yet its writes are logged.
CREATE FUNCTION {schema}.settings_before() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.name IS DISTINCT FROM OLD.name THEN
        RAISE EXCEPTION 'the name of a setting cannot change (it is % and would become %)', OLD.name, NEW.name
            USING ERRCODE = 'integrity_constraint_violation',
                  HINT = 'Insert the new setting and delete the old one.';
    END IF;
    NEW.revision := {schema}.log_next();
    RETURN NEW;
END
$$;
CREATE TRIGGER settings_before BEFORE INSERT OR UPDATE ON {schema}.settings
    FOR EACH ROW EXECUTE FUNCTION {schema}.settings_before();

-- AFTER, because an upsert fires BEFORE INSERT and then BEFORE UPDATE: it would be logged twice (O3).
CREATE FUNCTION {schema}.settings_after() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM {schema}.log_append({schema}.log_next(), NULL, 'setting/' || OLD.name, 'delete', NULL);
    ELSE
        PERFORM {schema}.log_append(NEW.revision, NULL, 'setting/' || NEW.name, 'put', NEW.value);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER settings_after AFTER INSERT OR UPDATE OR DELETE ON {schema}.settings
    FOR EACH ROW EXECUTE FUNCTION {schema}.settings_after();

CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {schema}.settings
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_truncate();

REVOKE ALL ON FUNCTION {schema}.settings_before(), {schema}.settings_after() FROM PUBLIC;
REVOKE ALL ON {schema}.settings FROM PUBLIC;
GRANT SELECT ON {schema}.settings TO ordain_tenant;
GRANT SELECT, INSERT (name, value), UPDATE (value), DELETE ON {schema}.settings TO ordain_service;
