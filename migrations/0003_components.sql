-- Components (the rules, as WebAssembly files) that a fleet may run. Which one it runs is a setting,
-- so that it is logged and announced like every other: `component.current`, `component.previous`,
-- `component.candidate`. What lies here is named by its own content and never changes; so it is not
-- logged.

CREATE TABLE {schema}.components (
    digest    text COLLATE "C" PRIMARY KEY,
    bytes     bytea NOT NULL,
    signature text,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT components_size CHECK (pg_catalog.octet_length(bytes) BETWEEN 8 AND 8388608),
    CONSTRAINT components_named_by_content CHECK (digest = 'sha256:' || pg_catalog.encode(pg_catalog.sha256(bytes), 'hex')),
    CONSTRAINT components_signature CHECK (signature ~ '^[A-Za-z0-9+/]{86}==$')
);
COMMENT ON TABLE {schema}.components IS
    'Component files that were pushed, by digest. Hosts fetch the ones that the settings component.* name; of the others the newest few are kept.';
COMMENT ON COLUMN {schema}.components.signature IS
    'Ed25519 signature of the bytes, in base64; every host checks it against its own list of keys. NULL: none was given.';
COMMENT ON COLUMN {schema}.components.at IS
    'When it was last pushed; decides which unused ones are kept.';
COMMENT ON INDEX {schema}.components_pkey IS
    'A host looks a component up by the digest that a setting names.';

REVOKE ALL ON {schema}.components FROM PUBLIC;
GRANT SELECT, INSERT (digest, bytes, signature), UPDATE (signature, at), DELETE ON {schema}.components TO ordain_service;
