-- Whose this database's rows are: one row from the cut-over on. state: cutting-over (some store may not have its
-- row yet: `cutover` completes it), cut-over.
CREATE SCHEMA IF NOT EXISTS xtask;
CREATE TABLE IF NOT EXISTS xtask.cutover (
    only_one    boolean     PRIMARY KEY DEFAULT true CHECK (only_one),
    run         text        NOT NULL,
    environment text        NOT NULL,
    state       text        NOT NULL CHECK (state IN ('cutting-over', 'cut-over')),
    at          timestamptz NOT NULL DEFAULT now()
);
INSERT INTO xtask.cutover (run, environment, state) VALUES (:'run', :'environment', :'state')
ON CONFLICT (only_one) DO UPDATE SET state = excluded.state WHERE xtask.cutover.run = excluded.run;
