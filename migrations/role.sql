-- The roles that the service runs as. They own nothing, so that they cannot get past the triggers which
-- write the change log (rule O3), nor past row level security: `ordain_tenant` for the work of one
-- tenant, `ordain_service` for what concerns all of them. Roles belong to the whole server, not to one
-- database: this runs before every migration, finds the roles in place or makes them, and lets the
-- connecting role take them. Not a migration itself.
DO $$
DECLARE
    wanted  text;
    member  text;
    granted boolean;
    how     text := '';
BEGIN
    FOREACH wanted IN ARRAY ARRAY['ordain_service', 'ordain_tenant'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS', wanted);
            EXCEPTION
                -- Somebody else was quicker, perhaps from another database.
                WHEN duplicate_object OR unique_violation THEN NULL;
                WHEN insufficient_privilege THEN
                    RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = pg_catalog.format(
                        '%s may not create roles; let a superuser run: CREATE ROLE ordain_service NOLOGIN; CREATE ROLE ordain_tenant NOLOGIN; GRANT ordain_tenant TO ordain_service; GRANT ordain_service TO %s',
                        current_user, pg_catalog.quote_ident(current_user));
            END;
        END IF;
    END LOOP;

    -- Who may become the role is not the role: what it may do is not inherited, where Postgres can say so for
    -- one grant. (Where not, the policies do: they look at who somebody is, not at who he may become.)
    IF pg_catalog.current_setting('server_version_num')::int >= 160000 THEN
        how := ' WITH INHERIT FALSE, SET TRUE';
    END IF;

    -- Whoever may be the one may be the other: hosts that were granted `ordain_service` need no new grant.
    FOR wanted, member IN VALUES ('ordain_service', current_user::text), ('ordain_tenant', 'ordain_service') LOOP
        granted := false;
        FOR attempt IN 1..20 LOOP
            -- By trial for ourselves: what membership allows SET ROLE differs between releases of Postgres.
            IF member = current_user THEN
                BEGIN
                    EXECUTE pg_catalog.format('SET LOCAL ROLE %I', wanted);
                    RESET ROLE;
                    granted := true;
                EXCEPTION WHEN insufficient_privilege THEN NULL;
                END;
            ELSE
                granted := pg_catalog.pg_has_role(member, wanted, 'MEMBER');
            END IF;
            EXIT WHEN granted;
            BEGIN
                EXECUTE pg_catalog.format('GRANT %I TO %I', wanted, member) || how;
            EXCEPTION
                WHEN unique_violation THEN NULL;
                WHEN insufficient_privilege THEN
                    RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = pg_catalog.format(
                        '%s may not grant roles; let a superuser run: GRANT ordain_tenant TO ordain_service; GRANT ordain_service TO %s',
                        current_user, pg_catalog.quote_ident(current_user));
                WHEN internal_error THEN
                    -- The one internal error that is a race of two grants.
                    IF SQLERRM NOT LIKE '%concurrently updated%' THEN RAISE; END IF;
                    PERFORM pg_catalog.pg_sleep(0.05);
            END;
        END LOOP;
        IF NOT granted THEN
            RAISE EXCEPTION 'cannot grant % to %: other grants are in the way', wanted, member;
        END IF;
    END LOOP;
END
$$;
