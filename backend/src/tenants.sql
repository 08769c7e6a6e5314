-- Rows belong to a tenant; those that there were before belong to `default`. Tokens open a tenant,
-- and are kept as digests only. Names of datasets and slots of releases are a tenant's own.
CREATE TABLE dataset_of_tenant (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant   TEXT    NOT NULL DEFAULT 'default',
    name     TEXT    NOT NULL,
    format   TEXT,
    folder   BLOB    NOT NULL,
    checksum TEXT    NOT NULL,
    count    INTEGER NOT NULL,
    size     INTEGER NOT NULL,
    splits   TEXT    NOT NULL,
    created  INTEGER NOT NULL,
    UNIQUE (tenant, name)
) STRICT;
INSERT INTO dataset_of_tenant
    (id, name, format, folder, checksum, count, size, splits, created)
    SELECT id, name, format, folder, checksum, count, size, splits, created FROM dataset;
DROP TABLE dataset;
ALTER TABLE dataset_of_tenant RENAME TO dataset;
ALTER TABLE release ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default';
DROP INDEX release_slot;
CREATE UNIQUE INDEX release_slot
    ON release (tenant, code, variant, debug, CASE debug WHEN 1 THEN '' ELSE version END);
ALTER TABLE model ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default';
ALTER TABLE upload ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default';
-- The release that was made of it. No reference: a debug release is replaced by the next.
ALTER TABLE upload ADD COLUMN release INTEGER;
ALTER TABLE run ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default';
-- A revoked token keeps its row, so that its number in a log still means something.
CREATE TABLE token (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    digest  BLOB    NOT NULL CHECK (length(digest) = 32),
    tenant  TEXT    NOT NULL,
    name    TEXT    NOT NULL,
    scopes  TEXT    NOT NULL,
    created INTEGER NOT NULL,
    revoked INTEGER
) STRICT;
-- What somebody said about an application that serves; `fields` is all of it.
CREATE TABLE serve_application (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant  TEXT    NOT NULL,
    name    TEXT    NOT NULL,
    status  TEXT    NOT NULL,
    job     INTEGER,
    fields  TEXT    NOT NULL,
    created INTEGER NOT NULL
) STRICT;
