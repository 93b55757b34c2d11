-- Under row level security conditions on expressions such as coalesce(tenant, '') are not looked up in an
-- index: every config was read through the whole table. Writes of configs wait while the index is built,
-- reads do not; so it is a file, and a transaction, of its own.

CREATE INDEX configs_by_level ON public.configs (tenant NULLS FIRST, user_id NULLS FIRST);
COMMENT ON INDEX public.configs_by_level IS
    'A level is read by it, and levels are listed along it (O5).';
COMMENT ON INDEX public.configs_key IS
    'One row of a level; for conflicts only, since row level security keeps reads from it.';
