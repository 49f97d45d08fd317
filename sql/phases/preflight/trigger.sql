-- Triggers of the tables. psql: \set tables {users,orders}
SELECT format('%s: %s', c.relname, t.tgname) AS key
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (:'tables'::text[]) AND NOT t.tgisinternal
