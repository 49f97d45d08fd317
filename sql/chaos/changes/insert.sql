-- New ids, and those that are gone, again. What is there already stays.
-- psql: \set first 10 \set last 14 \set mark 'w1 7'
INSERT INTO subject (id, kind, note, n)
SELECT i, abs(i) % 3, :'mark', 0 FROM generate_series(:'first'::bigint, :'last'::bigint) i
ON CONFLICT DO NOTHING
