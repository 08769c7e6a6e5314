-- What runs on this machine read and make: datasets by reference, models, uploads, runs.
-- The size, device, inode and times of an item are those of the file when it was hashed;
-- `settled` says that they may stand for its bytes.
CREATE TABLE dataset (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    name     TEXT    NOT NULL UNIQUE,
    format   TEXT,
    folder   BLOB    NOT NULL,
    checksum TEXT    NOT NULL,
    count    INTEGER NOT NULL,
    size     INTEGER NOT NULL,
    splits   TEXT    NOT NULL,
    created  INTEGER NOT NULL
) STRICT;
CREATE TABLE dataset_item (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    dataset INTEGER NOT NULL REFERENCES dataset (id) ON DELETE CASCADE,
    path    TEXT    NOT NULL,
    split   TEXT,
    sha256  BLOB    NOT NULL CHECK (length(sha256) = 32),
    size    INTEGER NOT NULL,
    dev     INTEGER NOT NULL,
    ino     INTEGER NOT NULL,
    mtime   INTEGER NOT NULL,
    ctime   INTEGER NOT NULL,
    settled INTEGER NOT NULL CHECK (settled IN (0, 1))
) STRICT;
CREATE UNIQUE INDEX dataset_item_path ON dataset_item (dataset, path);
CREATE TABLE model (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    name     TEXT    NOT NULL,
    plugin   TEXT,
    version  TEXT,
    category TEXT    NOT NULL,
    filename TEXT    NOT NULL,
    file     TEXT    NOT NULL UNIQUE,
    size     INTEGER NOT NULL,
    md5      TEXT    NOT NULL,
    sha256   TEXT    NOT NULL,
    fields   TEXT    NOT NULL,
    created  INTEGER NOT NULL
) STRICT;
-- `file` is gone once a model took it over.
CREATE TABLE upload (
    id        TEXT    PRIMARY KEY,
    filename  TEXT    NOT NULL,
    file      TEXT    UNIQUE,
    total     INTEGER NOT NULL,
    reached   INTEGER NOT NULL CHECK (reached BETWEEN 0 AND total),
    md5       TEXT,
    sha256    TEXT,
    completed INTEGER,
    model     INTEGER REFERENCES model (id),
    touched   INTEGER NOT NULL
) STRICT;
CREATE TABLE run (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    plugin   TEXT    NOT NULL,
    version  TEXT    NOT NULL,
    action   TEXT    NOT NULL,
    mode     TEXT    NOT NULL,
    status   TEXT    NOT NULL
        CHECK (status IN ('PENDING', 'RUNNING', 'STOPPED', 'SUCCEEDED', 'FAILED')),
    params   TEXT    NOT NULL,
    meta     TEXT    NOT NULL,
    progress TEXT,
    metrics  TEXT,
    result   TEXT,
    error    TEXT,
    exit     INTEGER,
    pid      INTEGER,
    process  TEXT,
    created  REAL    NOT NULL,
    started  REAL,
    finished REAL
) STRICT;
CREATE INDEX run_plugin ON run (plugin);
-- Run 0 stands for what belongs to no run.
CREATE TABLE run_event (
    run   INTEGER NOT NULL,
    seq   INTEGER NOT NULL,
    time  REAL    NOT NULL,
    kind  TEXT    NOT NULL,
    level TEXT,
    step  TEXT,
    data  TEXT    NOT NULL,
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;
