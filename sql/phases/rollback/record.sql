-- That this run has been taken back, in the transaction that did it: a second call finds this row and does nothing
-- more here. psql: \set run 20260131_235959 \set scope after-start \set summary '{}'
CREATE SCHEMA IF NOT EXISTS xtask;
CREATE TABLE IF NOT EXISTS xtask.rollbacks (
    run     text        NOT NULL,
    scope   text        NOT NULL,      -- after-start, or the service that went back alone
    at      timestamptz NOT NULL DEFAULT now(),
    summary jsonb       NOT NULL,      -- rows by table and kind, and where the sequences have to stand
    PRIMARY KEY (run, scope)
);
INSERT INTO xtask.rollbacks (run, scope, summary) VALUES (:'run', :'scope', :'summary'::jsonb)
