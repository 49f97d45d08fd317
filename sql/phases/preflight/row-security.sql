-- Tables with row-level security. psql: \set tables {users,orders}
SELECT c.relname::text AS key
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (:'tables'::text[]) AND c.relrowsecurity
