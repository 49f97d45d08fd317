-- The subject of a round: parts whose ids are mixed, the key unique over all of them.
DROP TABLE IF EXISTS subject;
CREATE TABLE subject (id integer NOT NULL, kind integer NOT NULL, note text, n numeric) PARTITION BY HASH (id);
CREATE TABLE subject_0 PARTITION OF subject FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE subject_1 PARTITION OF subject FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE subject_2 PARTITION OF subject FOR VALUES WITH (MODULUS 3, REMAINDER 2);
CREATE UNIQUE INDEX ON subject (id);
