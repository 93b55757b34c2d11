-- Who works for all tenants is who has become `ordain_service`, not who may: membership is what lets a
-- host become it, and with inheritance the policies of a role apply to its members as well. The log
-- says so when it comes to positions that clients cannot tell from one another.

-- Policies ---------------------------------------------------------------------------------------

-- In a CASE, since the planner takes a comparison for one that holds of one row in two hundred, and sorts
-- the whole table for a page of a list.
ALTER POLICY all_tenants ON public.policies
    USING (CASE WHEN current_user = 'ordain_service' THEN true ELSE false END) WITH CHECK (CASE WHEN current_user = 'ordain_service' THEN true ELSE false END);
ALTER POLICY all_tenants ON public.configs
    USING (CASE WHEN current_user = 'ordain_service' THEN true ELSE false END) WITH CHECK (CASE WHEN current_user = 'ordain_service' THEN true ELSE false END);
ALTER POLICY all_tenants ON public.changes USING (CASE WHEN current_user = 'ordain_service' THEN true ELSE false END);
COMMENT ON POLICY all_tenants ON public.policies IS
    'Work that concerns all tenants: of who has become ordain_service, not of its members.';
COMMENT ON POLICY all_tenants ON public.configs IS
    'Work that concerns all tenants: of who has become ordain_service, not of its members.';
COMMENT ON POLICY all_tenants ON public.changes IS
    'Work that concerns all tenants: of who has become ordain_service, not of its members.';

-- The log ----------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION public.log_next() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    given bigint;
BEGIN
    UPDATE public.log_head
        SET position = greatest(position + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
        WHERE one
        RETURNING position INTO STRICT given;
    -- Clients have numbers of 53 bits. Stops a little before them, so that what is given out by mistake can
    -- be looked at.
    IF given > 9007199254740992 - 4294967296 THEN
        RAISE EXCEPTION 'the log has no more positions: % is too near to 2^53 (the year 2255)', given
            USING ERRCODE = 'program_limit_exceeded',
                  HINT = 'Nothing was written. Is the clock of the server right? If somebody moved log_head: restore the database from before that.';
    END IF;
    RETURN given;
END
$$;
