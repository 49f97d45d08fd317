-- Every row of a table as text, by its id, with the key that the new store knows it by.
-- psql: \set table users \set key firebase_uid
SELECT t.id::bigint AS id, coalesce(t.:"key"::text, '') AS key, t::text AS text FROM ONLY public.:"table" t
