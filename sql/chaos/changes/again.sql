-- Rows deleted and inserted again in one transaction, as they were filled.
-- psql: \set first 10 \set last 14
DELETE FROM subject WHERE id BETWEEN :'first'::bigint AND :'last'::bigint;
INSERT INTO subject (id, kind, note, n)
SELECT i, abs(i) % 3, 'row ' || i, i / 7.0 FROM generate_series(:'first'::bigint, :'last'::bigint) i
ON CONFLICT DO NOTHING
