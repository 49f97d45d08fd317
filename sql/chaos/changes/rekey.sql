-- Another key: into the gap of a neighbour, or far away.
-- psql: \set first 10 \set last 14 \set far 1024
UPDATE subject SET id = id + :'far'::bigint WHERE id BETWEEN :'first'::bigint AND :'last'::bigint
