-- The id that a table's next row gets, and the largest that it holds. psql: \set table orders
SELECT s.sequence,
       (SELECT max(id)::bigint FROM public.:"table") AS largest
FROM (SELECT pg_get_serial_sequence(quote_ident('public') || '.' || quote_ident(:'table'), 'id') AS sequence) s
