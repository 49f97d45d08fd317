-- Rows of the subject, with gaps in which others find room.
-- psql: \set first -1000 \set last 1500
INSERT INTO subject (id, kind, note, n)
SELECT i, abs(i) % 3, 'row ' || i, i / 7.0
FROM generate_series(:'first'::bigint, :'last'::bigint) i
WHERE abs(i) % 11 <> 5
