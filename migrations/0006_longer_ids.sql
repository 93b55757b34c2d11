-- Ids have 1 to 256 code points: names of resources at cloud providers are longer than the 128 of so far.
--
-- NOT VALID: whatever passed the narrower checks passes these, so no row need be read for it. The names stay:
-- CHECKs run in their order.

ALTER TABLE public.policies
    DROP CONSTRAINT policies_tenant_length,
    ADD CONSTRAINT policies_tenant_length CHECK (pg_catalog.char_length(tenant) BETWEEN 1 AND 256) NOT VALID;

ALTER TABLE public.configs
    DROP CONSTRAINT configs_tenant_is_id,
    ADD CONSTRAINT configs_tenant_is_id CHECK (pg_catalog.char_length(tenant) BETWEEN 1 AND 256
        AND tenant !~ '[\u0001-\u001f\u007f-\u009f]' AND tenant NOT IN ('.', '..')) NOT VALID,
    DROP CONSTRAINT configs_user_is_id,
    ADD CONSTRAINT configs_user_is_id CHECK (pg_catalog.char_length(user_id) BETWEEN 1 AND 256
        AND user_id !~ '[\u0001-\u001f\u007f-\u009f]' AND user_id NOT IN ('.', '..')) NOT VALID;

-- config/<user>, and no character has more than four bytes. An entry of the index changes_history (tenant and
-- subject) then has at most 2,100 bytes, of the 2,700 that one may have.
ALTER TABLE public.changes
    DROP CONSTRAINT changes_subject_size,
    ADD CONSTRAINT changes_subject_size CHECK (subject <> '' AND pg_catalog.octet_length(subject) <= 1031) NOT VALID;

CREATE OR REPLACE FUNCTION public.log_purge(of_tenant text) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    given bigint;
BEGIN
    IF char_length(of_tenant) NOT BETWEEN 1 AND 256 OR of_tenant IN ('.', '..')
        OR of_tenant ~ '[\u0001-\u001f\u007f-\u009f]' THEN
        RAISE EXCEPTION 'this is no tenant: %', left(of_tenant, 200) USING ERRCODE = 'check_violation';
    END IF;
    given := public.log_next();
    PERFORM public.log_append(given, of_tenant, '*', 'purge', NULL);
    RETURN given;
END
$$;
