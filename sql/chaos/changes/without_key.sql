-- The subject of a round: ids that may occur several times.
DROP TABLE IF EXISTS subject;
CREATE TABLE subject (id bigint NOT NULL, kind integer NOT NULL, note text, n numeric);
CREATE INDEX ON subject (id);
