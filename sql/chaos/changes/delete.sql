-- psql: \set first 10 \set last 14
DELETE FROM subject WHERE id BETWEEN :'first'::bigint AND :'last'::bigint
