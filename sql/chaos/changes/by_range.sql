-- The subject of a round: parts that meet in the middle of a range of 512 ids.
DROP TABLE IF EXISTS subject;
CREATE TABLE subject (id bigint NOT NULL, kind integer NOT NULL, note text, n numeric) PARTITION BY RANGE (id);
CREATE TABLE subject_0 PARTITION OF subject FOR VALUES FROM (MINVALUE) TO (-100);
CREATE TABLE subject_1 PARTITION OF subject FOR VALUES FROM (-100) TO (700);
CREATE TABLE subject_2 PARTITION OF subject FOR VALUES FROM (700) TO (MAXVALUE);
CREATE UNIQUE INDEX ON subject (id);
