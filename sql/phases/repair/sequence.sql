-- The sequence of a table's id, the one that it has to have if that is there, and the largest id.
-- psql: \set table orders, \set sequence orders_id_seq
SELECT pg_get_serial_sequence(quote_ident('public') || '.' || quote_ident(:'table'), 'id') AS owned,
       CASE WHEN to_regclass(s.name) IS NOT NULL THEN s.name END AS named,
       (SELECT max(id)::bigint FROM public.:"table") AS largest
FROM (SELECT quote_ident('public') || '.' || quote_ident(:'sequence') AS name) s
