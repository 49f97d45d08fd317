-- The subject of a round: each part has a key of its own, and rows move between parts.
DROP TABLE IF EXISTS subject;
CREATE TABLE subject (id bigint NOT NULL, kind integer NOT NULL, note text, n numeric) PARTITION BY LIST (kind);
CREATE TABLE subject_0 PARTITION OF subject FOR VALUES IN (0);
CREATE TABLE subject_1 PARTITION OF subject FOR VALUES IN (1);
CREATE TABLE subject_2 PARTITION OF subject FOR VALUES IN (2);
CREATE UNIQUE INDEX ON subject_0 (id);
CREATE UNIQUE INDEX ON subject_1 (id);
CREATE UNIQUE INDEX ON subject_2 (id);
