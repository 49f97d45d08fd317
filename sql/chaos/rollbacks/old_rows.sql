-- Every row of a table as text, by its id. psql: \set table orders
SELECT t.id::bigint AS id, t::text AS text FROM ONLY public.:"table" t
