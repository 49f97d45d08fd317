-- What this tool has brought into this database: a row a run, written in the transaction that made its
-- tables visible.
CREATE SCHEMA IF NOT EXISTS xtask;
CREATE TABLE IF NOT EXISTS xtask.runs (
    run       text        PRIMARY KEY,
    published timestamptz NOT NULL DEFAULT now(),
    tables    jsonb       NOT NULL     -- of each table: rows, digest, and how it was taken
);
