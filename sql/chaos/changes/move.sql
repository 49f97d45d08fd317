-- Another kind: where the parts are by kind, into another part.
-- psql: \set first 10 \set last 14
UPDATE subject SET kind = (kind + 1) % 3 WHERE id BETWEEN :'first'::bigint AND :'last'::bigint
