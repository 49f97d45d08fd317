-- The subject of a round: one heap with a key.
DROP TABLE IF EXISTS subject;
CREATE TABLE subject (id bigint NOT NULL, kind integer NOT NULL, note text, n numeric);
CREATE UNIQUE INDEX ON subject (id);
