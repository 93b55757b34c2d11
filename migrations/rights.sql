-- What a backup does not bring along, put right after every migration: who owns what runs with the owner's
-- rights, row policies, grants (`pg_restore -O -x`, a server without our roles), and what the defaults of
-- the database give to others. Looks first, since a change locks. What the role that migrates may not do
-- is told as the statements that somebody else has to run. Not a migration itself; speaks of the newest
-- schema, so whoever adds a migration looks here.
DO $$
DECLARE
    keeper   oid;
    owner    text;
    item     record;
    wish     text;
    wishes   text[];
    missing  text[];
BEGIN
-- Again and again: to take from everybody what everybody had shows what somebody lacks who had it as one of
-- them. What was not allowed, or had no effect, the last round finds still there.
FOR round IN 1..4 LOOP
    wishes := '{}';
    missing := '{}';

    -- What is there at all -----------------------------------------------------------------------

    FOREACH wish IN ARRAY ARRAY['changes', 'log_head', 'log', 'policies', 'configs', 'settings', 'components'] LOOP
        IF pg_catalog.to_regclass('{schema}.' || wish) IS NULL THEN
            missing := missing || ('table ' || wish);
        END IF;
    END LOOP;
    FOREACH wish IN ARRAY ARRAY['log_next', 'log_head_grows', 'refuse_truncate', 'changes_stay', 'log_append',
        'log_purge', 'log_prune', 'policy_is_sound', 'config_is_sound', 'policies_before', 'policies_after',
        'settings_before', 'settings_after', 'configs_before', 'configs_after'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_proc
            WHERE proname = wish AND pronamespace = '{schema}'::pg_catalog.regnamespace) THEN
            missing := missing || ('function ' || wish);
        END IF;
    END LOOP;
    FOR item IN SELECT * FROM (VALUES
        ('policies', 'policies_before'), ('policies', 'policies_after'), ('policies', 'refuse_truncate'),
        ('configs', 'configs_before'), ('configs', 'configs_after'), ('configs', 'refuse_truncate'),
        ('settings', 'settings_before'), ('settings', 'settings_after'), ('settings', 'refuse_truncate'),
        ('changes', 'changes_stay'), ('changes', 'refuse_truncate'),
        ('log_head', 'log_head_grows'), ('log_head', 'refuse_truncate')) w (tab, trig) LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_trigger
            WHERE tgrelid = pg_catalog.to_regclass('{schema}.' || item.tab) AND tgname = item.trig) THEN
            missing := missing || ('trigger ' || item.trig || ' on ' || item.tab);
        ELSIF EXISTS (SELECT FROM pg_catalog.pg_trigger
            WHERE tgrelid = pg_catalog.to_regclass('{schema}.' || item.tab) AND tgname = item.trig AND tgenabled = 'D') THEN
            wishes := wishes || pg_catalog.format('ALTER TABLE {schema}.%I ENABLE TRIGGER %I', item.tab, item.trig);
        END IF;
    END LOOP;
    -- Bodies of functions name the schema, and a schema that is renamed takes them along as they are.
    IF EXISTS (SELECT FROM pg_catalog.pg_proc WHERE proname = 'log_next'
        AND pronamespace = '{schema}'::pg_catalog.regnamespace AND pg_catalog.strpos(prosrc, '{schema}.log_head') = 0) THEN
        RAISE EXCEPTION 'the schema {schema} was renamed: its functions still work on the one that it was. Give it its name again';
    END IF;
    IF missing <> '{}' THEN
        RAISE EXCEPTION 'the database was restored in part only, these are missing: %. Restore all of the backup',
            pg_catalog.array_to_string(missing, ', ');
    END IF;

    -- Owners -------------------------------------------------------------------------------------

    SELECT relowner, pg_catalog.pg_get_userbyid(relowner) INTO keeper, owner FROM pg_catalog.pg_class
        WHERE oid = '{schema}.changes'::pg_catalog.regclass;
    IF EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = '{schema}.log'::pg_catalog.regclass AND relowner <> keeper) THEN
        wishes := wishes || pg_catalog.format('ALTER VIEW {schema}.log OWNER TO %I', owner);
    END IF;
    FOR item IN SELECT oid::pg_catalog.regprocedure AS called FROM pg_catalog.pg_proc
        WHERE pronamespace = '{schema}'::pg_catalog.regnamespace AND prosecdef AND proowner <> keeper
            AND proname IN ('policies_before', 'policies_after', 'settings_before', 'settings_after',
                'configs_before', 'configs_after', 'log_purge', 'log_prune') LOOP
        wishes := wishes || pg_catalog.format('ALTER FUNCTION %s OWNER TO %I', item.called, owner);
    END LOOP;

    -- Row policies -------------------------------------------------------------------------------

    FOREACH wish IN ARRAY ARRAY['policies', 'configs', 'changes'] LOOP
        IF EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = ('{schema}.' || wish)::pg_catalog.regclass
            AND NOT (relrowsecurity AND relforcerowsecurity)) THEN
            wishes := wishes || pg_catalog.format('ALTER TABLE {schema}.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', wish);
        END IF;
    END LOOP;
    FOR item IN SELECT tab, pol, role, does FROM (VALUES
        ('policies', 'own_tenant', NULL, 'FOR ALL USING (tenant = current_setting(''ordain.tenant'', true)) WITH CHECK (tenant = current_setting(''ordain.tenant'', true))'),
        ('policies', 'all_tenants', 'ordain_service', 'FOR ALL TO ordain_service USING (CASE WHEN current_user = ''ordain_service'' THEN true ELSE false END) WITH CHECK (CASE WHEN current_user = ''ordain_service'' THEN true ELSE false END)'),
        ('configs', 'own_tenant', NULL, 'FOR ALL USING (tenant = current_setting(''ordain.tenant'', true)) WITH CHECK (tenant = current_setting(''ordain.tenant'', true))'),
        ('configs', 'global_is_read', NULL, 'FOR SELECT USING (tenant IS NULL AND current_setting(''ordain.tenant'', true) <> '''')'),
        ('configs', 'all_tenants', 'ordain_service', 'FOR ALL TO ordain_service USING (CASE WHEN current_user = ''ordain_service'' THEN true ELSE false END) WITH CHECK (CASE WHEN current_user = ''ordain_service'' THEN true ELSE false END)'),
        ('changes', 'own_tenant', NULL, 'FOR SELECT USING (tenant = current_setting(''ordain.tenant'', true))'),
        ('changes', 'all_tenants', 'ordain_service', 'FOR SELECT TO ordain_service USING (CASE WHEN current_user = ''ordain_service'' THEN true ELSE false END)'),
        ('changes', 'owner_keeps_the_log', owner, pg_catalog.format('FOR ALL TO %I USING (true) WITH CHECK (true)', owner))
        ) w (tab, pol, role, does)
        WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_policy p
            WHERE p.polrelid = ('{schema}.' || tab)::pg_catalog.regclass AND p.polname = pol
            AND p.polroles = ARRAY[coalesce((SELECT oid FROM pg_catalog.pg_roles WHERE rolname = role), 0)]) LOOP
        IF EXISTS (SELECT FROM pg_catalog.pg_policy WHERE polrelid = ('{schema}.' || item.tab)::pg_catalog.regclass
            AND polname = item.pol) THEN
            wishes := wishes || pg_catalog.format('DROP POLICY %I ON {schema}.%I', item.pol, item.tab);
        END IF;
        wishes := wishes || pg_catalog.format('CREATE POLICY %I ON {schema}.%I %s', item.pol, item.tab, item.does);
    END LOOP;

    -- Grants -------------------------------------------------------------------------------------

    FOR item IN SELECT role, priv, tab, cols FROM (VALUES
        ('ordain_service', 'SELECT', 'changes', NULL::text), ('ordain_service', 'SELECT', 'log_head', NULL),
        ('ordain_service', 'SELECT', 'policies', NULL), ('ordain_service', 'INSERT', 'policies', NULL),
        ('ordain_service', 'UPDATE', 'policies', NULL), ('ordain_service', 'DELETE', 'policies', NULL),
        ('ordain_service', 'UPDATE', 'log_head', 'one'),
        ('ordain_service', 'SELECT', '_sqlx_migrations', NULL),
        ('ordain_service', 'SELECT', 'settings', NULL), ('ordain_service', 'DELETE', 'settings', NULL),
        ('ordain_service', 'INSERT', 'settings', 'name, value'), ('ordain_service', 'UPDATE', 'settings', 'value'),
        ('ordain_service', 'SELECT', 'components', NULL), ('ordain_service', 'DELETE', 'components', NULL),
        ('ordain_service', 'INSERT', 'components', 'digest, bytes, signature'),
        ('ordain_service', 'UPDATE', 'components', 'signature, at'),
        ('ordain_service', 'SELECT', 'configs', NULL), ('ordain_service', 'INSERT', 'configs', NULL),
        ('ordain_service', 'UPDATE', 'configs', NULL), ('ordain_service', 'DELETE', 'configs', NULL),
        ('ordain_service', 'SELECT', 'log', NULL), ('ordain_tenant', 'SELECT', 'log', NULL),
        ('ordain_tenant', 'SELECT', 'changes', NULL), ('ordain_tenant', 'SELECT', 'log_head', NULL),
        ('ordain_tenant', 'SELECT', 'settings', NULL), ('ordain_tenant', 'UPDATE', 'log_head', 'one'),
        ('ordain_tenant', 'SELECT', 'policies', NULL), ('ordain_tenant', 'DELETE', 'policies', NULL),
        ('ordain_tenant', 'INSERT', 'policies', 'tenant, body'), ('ordain_tenant', 'UPDATE', 'policies', 'body'),
        ('ordain_tenant', 'SELECT', 'configs', NULL), ('ordain_tenant', 'DELETE', 'configs', NULL),
        ('ordain_tenant', 'INSERT', 'configs', 'tenant, user_id, body'),
        ('ordain_tenant', 'UPDATE', 'configs', 'body')
        ) w (role, priv, tab, cols)
        WHERE CASE WHEN cols IS NULL THEN NOT pg_catalog.has_table_privilege(role, '{schema}.' || tab, priv)
            ELSE EXISTS (SELECT FROM pg_catalog.regexp_split_to_table(cols, ', ') col
                WHERE NOT pg_catalog.has_column_privilege(role, '{schema}.' || tab, col, priv)) END LOOP
        wishes := wishes || pg_catalog.format('GRANT %s%s ON {schema}.%I TO %I', item.priv,
            coalesce(' (' || item.cols || ')', ''), item.tab, item.role);
    END LOOP;
    -- The owner, too: triggers run with his rights.
    FOREACH wish IN ARRAY ARRAY['ordain_service', 'ordain_tenant', owner] LOOP
        IF NOT pg_catalog.has_schema_privilege(wish, '{schema}', 'USAGE') THEN
            wishes := wishes || pg_catalog.format('GRANT USAGE ON SCHEMA "{schema}" TO %I', wish);
        END IF;
    END LOOP;
    FOR item IN SELECT p.oid::pg_catalog.regprocedure AS called, p.proname, p.oid FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = '{schema}'::pg_catalog.regnamespace
            AND p.proname IN ('log_next', 'log_head_grows', 'refuse_truncate', 'changes_stay', 'log_append',
                'policies_before', 'policies_after', 'settings_before', 'settings_after', 'configs_before',
                'configs_after', 'log_purge', 'log_prune') LOOP
        -- New functions are everybody's, unless somebody says otherwise.
        IF pg_catalog.has_function_privilege('public', item.oid, 'EXECUTE') THEN
            wishes := wishes || pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', item.called);
        END IF;
        IF item.proname IN ('log_purge', 'log_prune') AND (
            pg_catalog.has_function_privilege('public', item.oid, 'EXECUTE')
            OR NOT pg_catalog.has_function_privilege('ordain_service', item.oid, 'EXECUTE')) THEN
            wishes := wishes || pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO ordain_service', item.called);
        END IF;
    END LOOP;

    -- What ALTER DEFAULT PRIVILEGES gave to others when the tables were made, and what everybody has.
    FOR item IN SELECT DISTINCT c.relname, a.grantee, c.relowner FROM pg_catalog.pg_class c,
            pg_catalog.aclexplode(c.relacl) a
        WHERE c.oid IN (SELECT ('{schema}.' || t)::pg_catalog.regclass FROM pg_catalog.unnest(ARRAY['changes',
                'log_head', 'log', 'policies', 'configs', 'settings', 'components']) t)
            AND a.grantee <> c.relowner
            AND (a.grantee = 0 OR EXISTS (SELECT FROM pg_catalog.pg_default_acl d, pg_catalog.aclexplode(d.defaclacl) g
                WHERE d.defaclobjtype = 'r' AND g.grantee = a.grantee
                    AND (d.defaclnamespace IN (0, '{schema}'::pg_catalog.regnamespace))))
            AND coalesce(pg_catalog.pg_get_userbyid(nullif(a.grantee, 0)), '') NOT IN ('ordain_service', 'ordain_tenant') LOOP
        wishes := wishes || pg_catalog.format('REVOKE ALL ON {schema}.%I FROM %s', item.relname,
            CASE item.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(item.grantee)) END);
    END LOOP;

    -- Done, or told ------------------------------------------------------------------------------

    EXIT WHEN wishes = '{}';
    IF round = 4 THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = pg_catalog.format(
            '%s cannot put right what is missing. The tables belong to %s: migrate as that role, or let it or a superuser run: %s',
            current_user, owner, pg_catalog.array_to_string(wishes, '; '));
    END IF;
    FOREACH wish IN ARRAY wishes LOOP
        BEGIN
            EXECUTE wish;
        EXCEPTION WHEN insufficient_privilege THEN NULL;
        END;
    END LOOP;
END LOOP;
END
$$;
