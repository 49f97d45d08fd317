-- Other values.
-- psql: \set first 10 \set last 14 \set mark 'w1 7'
UPDATE subject SET note = :'mark', n = n + 1 WHERE id BETWEEN :'first'::bigint AND :'last'::bigint
