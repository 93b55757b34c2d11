-- One tenant at a time: the role in which hosts work for a tenant sees the rows of that tenant only,
-- whatever a statement asks for. The database is the last of several locks (the component cannot name
-- a tenant, a call is bound to one, tokens name one): it holds when a statement of the host is wrong.
--
-- A host says whose work it does by the setting `ordain.tenant`, for one transaction. Unset, it is NULL
-- or '', which no tenant is called: nothing is seen.
--
-- Roles: `ordain_tenant` for the work of one tenant and for following the log; `ordain_service` for what
-- concerns all of them (lists, imports, switches, components, purges, prunes, the global config). Hosts of
-- earlier releases do everything as `ordain_service`, so they go on as before during a roll-out.

SET LOCAL lock_timeout = '5s';

-- Policies ---------------------------------------------------------------------------------------

ALTER TABLE public.policies ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON public.policies
    USING (tenant = pg_catalog.current_setting('ordain.tenant', true))
    WITH CHECK (tenant = pg_catalog.current_setting('ordain.tenant', true));
COMMENT ON POLICY own_tenant ON public.policies IS
    'For every role, the owner of the table included: the rows of the tenant of this transaction.';
CREATE POLICY all_tenants ON public.policies TO ordain_service USING (true) WITH CHECK (true);
COMMENT ON POLICY all_tenants ON public.policies IS 'Work that concerns all tenants.';

-- Configs ----------------------------------------------------------------------------------------

ALTER TABLE public.configs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON public.configs
    USING (tenant = pg_catalog.current_setting('ordain.tenant', true))
    WITH CHECK (tenant = pg_catalog.current_setting('ordain.tenant', true));
COMMENT ON POLICY own_tenant ON public.configs IS
    'For every role, the owner of the table included: the rows of the tenant of this transaction.';
CREATE POLICY global_is_read ON public.configs FOR SELECT
    USING (tenant IS NULL AND pg_catalog.current_setting('ordain.tenant', true) <> '');
COMMENT ON POLICY global_is_read ON public.configs IS
    'The global level is part of every tenant''s config; who works for a tenant reads it and cannot write it.';
CREATE POLICY all_tenants ON public.configs TO ordain_service USING (true) WITH CHECK (true);
COMMENT ON POLICY all_tenants ON public.configs IS 'Work that concerns all tenants.';

-- The log ----------------------------------------------------------------------------------------

-- Bodies and who wrote them belong to the tenant. Positions do not: an as-of that counts one tenant's
-- rows only would be wrong (O5), and a feed has to see everything (F3).
ALTER TABLE public.changes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON public.changes FOR SELECT
    USING (tenant = pg_catalog.current_setting('ordain.tenant', true));
COMMENT ON POLICY own_tenant ON public.changes IS 'The history of the tenant of this transaction.';
CREATE POLICY all_tenants ON public.changes FOR SELECT TO ordain_service USING (true);
COMMENT ON POLICY all_tenants ON public.changes IS 'Work that concerns all tenants; hosts of earlier releases.';
-- The triggers, log_prune() and the view below run with the rights of the table's owner, which need not be
-- who runs this. Given to another role later, the table wants the policy for that one: role.sql sees to it at
-- the next migration, and until then feeds refuse a log that shows nothing though it is not empty.
DO $$
DECLARE
    keeper text := (SELECT pg_catalog.pg_get_userbyid(relowner) FROM pg_catalog.pg_class
        WHERE oid = 'public.changes'::pg_catalog.regclass);
BEGIN
    EXECUTE pg_catalog.format('CREATE POLICY owner_keeps_the_log ON public.changes TO %I USING (true) WITH CHECK (true)', keeper);
    CREATE VIEW public.log AS SELECT position, tenant, subject, op, at FROM public.changes;
    EXECUTE pg_catalog.format('ALTER VIEW public.log OWNER TO %I', keeper);
END
$$;
COMMENT ON POLICY owner_keeps_the_log ON public.changes IS
    'The functions and the view that run with the owner''s rights append, prune and show positions.';

COMMENT ON VIEW public.log IS
    'The whole log without what was written and by whom: what feeds follow, and what the head of the log is taken from.';

-- What the role may ------------------------------------------------------------------------------

GRANT USAGE ON SCHEMA public TO ordain_tenant, ordain_service;
REVOKE ALL ON public.log FROM PUBLIC;
GRANT SELECT ON public.log TO ordain_tenant, ordain_service;
GRANT SELECT ON public.changes, public.log_head, public.settings TO ordain_tenant;
GRANT UPDATE (one) ON public.log_head TO ordain_tenant;
GRANT SELECT, INSERT (tenant, body), UPDATE (body), DELETE ON public.policies TO ordain_tenant;
GRANT SELECT, DELETE,
    INSERT (tenant, user_id, auto_compact_enabled, compaction_interval_minutes, merge_compression_strategy,
        merge_max_messages, merge_preserve_pinned, path_compression_strategy, path_compression_threshold,
        path_max_messages, path_sliding_window_size),
    UPDATE (auto_compact_enabled, compaction_interval_minutes, merge_compression_strategy,
        merge_max_messages, merge_preserve_pinned, path_compression_strategy, path_compression_threshold,
        path_max_messages, path_sliding_window_size)
    ON public.configs TO ordain_tenant;
