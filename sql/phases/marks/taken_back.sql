-- The services have gone back to the old database: what this run brought here is nobody's any more, and is never cut
-- over again, whatever a copy of its directory knows. psql: \set run 20260131_235959 \set scope after-start
CREATE SCHEMA IF NOT EXISTS xtask;
CREATE TABLE IF NOT EXISTS xtask.taken_back (
    run   text        PRIMARY KEY,
    scope text        NOT NULL,
    at    timestamptz NOT NULL DEFAULT now()
);
INSERT INTO xtask.taken_back (run, scope) VALUES (:'run', :'scope') ON CONFLICT (run) DO NOTHING
