-- Tables that nobody migrates. psql: \set tables {users,orders}
SELECT format('%I.%I', n.nspname, c.relname) AS key
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT (n.nspname = 'public' AND c.relname = ANY (:'tables'::text[]))
  AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid)
