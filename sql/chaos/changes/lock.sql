-- Rows locked only: their versions have a mark, and are the same.
-- psql: \set first 10 \set last 14
SELECT count(*) FROM (
    SELECT FROM subject WHERE id BETWEEN :'first'::bigint AND :'last'::bigint FOR UPDATE
) AS locked
