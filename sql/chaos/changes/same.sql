-- The same values, in new versions of the rows.
-- psql: \set first 10 \set last 14
UPDATE subject SET note = note WHERE id BETWEEN :'first'::bigint AND :'last'::bigint
