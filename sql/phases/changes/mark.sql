-- Leaves a row behind after an instant: where it is found later, nothing that had been seen by then is lost.
-- psql: \set nonce 6f1c
CREATE TABLE IF NOT EXISTS xtask.instants (
    nonce text        PRIMARY KEY,
    taken timestamptz NOT NULL DEFAULT now()
);
DELETE FROM xtask.instants WHERE taken < now() - interval '90 days';
INSERT INTO xtask.instants (nonce) VALUES (:'nonce');
