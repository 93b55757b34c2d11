-- The role that the service runs as (rule O3). It owns nothing, so that it cannot get past the
-- triggers which write the change log. Roles belong to the whole server, not to one database: this
-- runs before every migration, finds the role in place or makes it, and lets the connecting role
-- take it. Not a migration itself.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'ordain_service') THEN
        BEGIN
            CREATE ROLE ordain_service NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
        EXCEPTION
            -- Somebody else was quicker, perhaps from another database.
            WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END IF;

    -- By trial: what membership allows SET ROLE differs between releases of Postgres.
    BEGIN
        SET LOCAL ROLE ordain_service;
        RESET ROLE;
        RETURN;
    EXCEPTION WHEN insufficient_privilege THEN NULL;
    END;
    FOR attempt IN 1..20 LOOP
        BEGIN
            EXECUTE pg_catalog.format('GRANT ordain_service TO %I', current_user);
            RETURN;
        EXCEPTION
            WHEN unique_violation THEN NULL;
            WHEN internal_error THEN
                -- The one internal error that is a race of two grants.
                IF SQLERRM NOT LIKE '%concurrently updated%' THEN RAISE; END IF;
                PERFORM pg_catalog.pg_sleep(0.05);
        END;
    END LOOP;
    RAISE EXCEPTION 'cannot grant ordain_service to %: other grants are in the way', current_user;
END
$$;
