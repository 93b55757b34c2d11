-- Policies, the change log, and the lock that orders it. The rules O1 to O5 and F2, F3, F6 that the
-- comments cite are explained in docs/architecture.md. Needs the role of role.sql.
--
-- All names are qualified and every function has its search_path pinned: what somebody else puts
-- first in a search_path must not be what a trigger runs.

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

CREATE TABLE public.changes (
    position   bigint PRIMARY KEY CHECK (position > 0),
    tenant     text COLLATE "C",
    subject    text COLLATE "C" NOT NULL CHECK (subject <> '' AND pg_catalog.octet_length(subject) <= 128),
    op         text NOT NULL CHECK (op IN ('put', 'delete', 'purge')),
    body       text,
    actor      text NOT NULL CHECK (actor <> ''),
    request_id text,
    reason     text,
    at         timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    CONSTRAINT changes_body_with_put_only CHECK (body IS NULL OR op = 'put')
);
COMMENT ON TABLE public.changes IS
    'The change log: what every host follows, and at the same time history and audit trail. Written by triggers only.';
COMMENT ON COLUMN public.changes.position IS
    'Grows, has gaps, is never given out twice (O1). From log_next() only: a sequence would hand positions out in an order other than that of the commits.';
COMMENT ON COLUMN public.changes.tenant IS
    'Whose record changed; NULL: the fleet''s. NULL, so that no tenant id can collide with it.';
COMMENT ON COLUMN public.changes.body IS
    'The record as it was put; NULL for a delete and where the log keeps a digest only.';
COMMENT ON COLUMN public.changes.actor IS
    'Who did it: what the service was told, or sql:<role> for an edit in SQL.';
COMMENT ON INDEX public.changes_pkey IS
    'The feed reads the log by position, from its watermark or from the newest end (F2, F3); the head of the log is its last entry (O5).';

-- For the history of one tenant, newest first and page by page, without its neighbours' rows.
CREATE INDEX changes_history ON public.changes (tenant, subject, position DESC);
COMMENT ON INDEX public.changes_history IS 'History of a record, newest first, page by page.';

CREATE TABLE public.log_head (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint NOT NULL CHECK (position >= 0)
);
COMMENT ON TABLE public.log_head IS
    'One row, whose lock is the lock of the log, held until commit: positions become visible in order (O2). The head of the log is max(position) of changes, not this position.';
COMMENT ON INDEX public.log_head_pkey IS 'With the CHECK: there is one row and no other.';
INSERT INTO public.log_head (position) VALUES (0);

CREATE FUNCTION public.log_next() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    given bigint;
BEGIN
    UPDATE public.log_head
        SET position = greatest(position + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
        WHERE one
        RETURNING position INTO STRICT given;
    RETURN given;
END
$$;
COMMENT ON FUNCTION public.log_next() IS
    'The next position (O1, O2): takes the lock of the log until the end of the transaction; a rollback gives the position back.';

CREATE FUNCTION public.log_head_grows() RETURNS trigger
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
CREATE TRIGGER log_head_grows BEFORE UPDATE OR DELETE ON public.log_head
    FOR EACH ROW EXECUTE FUNCTION public.log_head_grows();

-- A TRUNCATE fires no row trigger: it would change everything and log nothing (O3).
CREATE FUNCTION public.refuse_truncate() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% cannot be truncated: no host would notice', TG_TABLE_NAME
        USING ERRCODE = 'feature_not_supported', HINT = 'Use DELETE on policies; it is logged.';
END
$$;
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON public.changes
    FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_truncate();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON public.log_head
    FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_truncate();

-- The log is the audit trail: what is written stays as it was written (F6). It never takes part in a
-- write of a policy, so nothing of the service needs this right.
CREATE FUNCTION public.changes_stay() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the change log is append-only: % of position % is refused', TG_OP, OLD.position
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER changes_stay BEFORE UPDATE OR DELETE ON public.changes
    FOR EACH ROW EXECUTE FUNCTION public.changes_stay();

-- Policies ---------------------------------------------------------------------------------------

-- Size and outer structure, so that an edit in SQL cannot store what is no record at all. The rules
-- of a policy are the component's, not the database's.
CREATE FUNCTION public.policy_is_sound(body text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parsed json;
    fault  text;
    member record;
    wanted text;
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
            IF json_typeof(member.value) <> wanted THEN
                fault := format('%s of a policy is of type %s, not %s', member.key, wanted, json_typeof(member.value));
            ELSIF member.key IN ('defaultProvider', 'defaultModel') AND member.value::text = '""' THEN
                fault := format('%s of a policy is not empty', member.key);
            END IF;
        END LOOP;
    END IF;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION '%', fault
            USING ERRCODE = 'check_violation', CONSTRAINT = 'policies_body_sound', TABLE = 'policies';
    END IF;
    RETURN true;
END
$$;
COMMENT ON FUNCTION public.policy_is_sound(text) IS
    'True, or an error that says what is wrong: a plain CHECK could only say that something is.';

CREATE TABLE public.policies (
    tenant   text COLLATE "C" PRIMARY KEY,
    body     text NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT policies_tenant_length CHECK (pg_catalog.char_length(tenant) BETWEEN 1 AND 128),
    CONSTRAINT policies_tenant_no_controls CHECK (tenant !~ '[\u0001-\u001f\u007f-\u009f]'),
    CONSTRAINT policies_tenant_no_dots CHECK (tenant NOT IN ('.', '..')),
    -- CHECKs run in the order of their names: this one before the body is parsed.
    CONSTRAINT policies_body_size CHECK (pg_catalog.octet_length(body) <= 262144),
    CONSTRAINT policies_body_sound CHECK (public.policy_is_sound(body)),
    CONSTRAINT policies_revision CHECK (revision > 0)
);
COMMENT ON TABLE public.policies IS
    'One policy of each tenant that has one. Every change is logged by triggers, an edit in SQL too.';
COMMENT ON COLUMN public.policies.body IS
    'JSON text: canonical (RFC 8785) where the service wrote it. Text, because hosts hand it on byte by byte.';
COMMENT ON COLUMN public.policies.revision IS
    'Position in the log of the change that wrote the row. Set by a trigger, whatever a statement says.';
COMMENT ON INDEX public.policies_pkey IS
    'A policy is read by its tenant (O5); the list of tenants is a walk along this index, in byte order.';

-- Definer's rights: the service may write policies but not the log, yet its writes are logged.
CREATE FUNCTION public.policies_before() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.tenant IS DISTINCT FROM OLD.tenant THEN
        RAISE EXCEPTION 'the tenant of a policy cannot change (it is % and would become %)', OLD.tenant, NEW.tenant
            USING ERRCODE = 'integrity_constraint_violation',
                  HINT = 'Insert a policy for the new tenant and delete the old one.';
    END IF;
    NEW.revision := public.log_next();
    RETURN NEW;
END
$$;
CREATE TRIGGER policies_before BEFORE INSERT OR UPDATE ON public.policies
    FOR EACH ROW EXECUTE FUNCTION public.policies_before();

-- AFTER, because an upsert fires BEFORE INSERT and then BEFORE UPDATE: it would be logged twice (O3).
-- session_user, not current_user: with definer's rights the latter is the owner, whoever edits.
CREATE FUNCTION public.policies_after() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    deleted boolean := TG_OP = 'DELETE';
BEGIN
    INSERT INTO public.changes (position, tenant, subject, op, body, actor, request_id, reason)
    VALUES (
        CASE WHEN deleted THEN public.log_next() ELSE NEW.revision END,
        CASE WHEN deleted THEN OLD.tenant ELSE NEW.tenant END,
        'policy',
        CASE WHEN deleted THEN 'delete' ELSE 'put' END,
        CASE WHEN deleted THEN NULL ELSE NEW.body END,
        -- A setting that some earlier transaction made is '' afterwards, not NULL.
        coalesce(nullif(current_setting('ordain.actor', true), ''), 'sql:' || session_user),
        nullif(current_setting('ordain.request_id', true), ''),
        nullif(current_setting('ordain.reason', true), '')
    );
    -- Only wakes the feeds; nothing depends on it, so it says nothing (F5).
    PERFORM pg_notify('ordain', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER policies_after AFTER INSERT OR UPDATE OR DELETE ON public.policies
    FOR EACH ROW EXECUTE FUNCTION public.policies_after();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON public.policies
    FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_truncate();

-- What the service may ---------------------------------------------------------------------------

REVOKE ALL ON FUNCTION public.log_next(), public.log_head_grows(), public.refuse_truncate(),
    public.changes_stay(), public.policies_before(), public.policies_after() FROM PUBLIC;
REVOKE ALL ON public.changes, public.log_head, public.policies FROM PUBLIC;
GRANT SELECT ON public.changes, public.log_head, public.policies TO ordain_service;
GRANT INSERT, UPDATE, DELETE ON public.policies TO ordain_service;
-- FOR UPDATE asks for the right to update some column: the one that can have one value only.
GRANT UPDATE (one) ON public.log_head TO ordain_service;

-- So that a host that does not migrate can see whether somebody else did.
DO $$
BEGIN
    IF pg_catalog.to_regclass('public._sqlx_migrations') IS NOT NULL THEN
        GRANT SELECT ON public._sqlx_migrations TO ordain_service;
    END IF;
END
$$;
