-- Where the next id of a table comes from, and the largest that it has given out. psql: \set table users
-- One row: the sequence's name or NULL, the largest id or NULL.
SELECT pg_get_serial_sequence(quote_ident('public') || '.' || quote_ident(:'table'), 'id') AS sequence,
       (SELECT max(id)::bigint FROM ONLY public.:"table") AS largest
