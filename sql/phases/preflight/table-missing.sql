-- Tables that are to be migrated and are not in the schema public. No rows = none.
-- psql: \set tables {users,orders}
SELECT format('public.%I', t.name) AS key
FROM unnest(:'tables'::text[]) AS t (name)
WHERE to_regclass('public.' || quote_ident(t.name)) IS NULL
