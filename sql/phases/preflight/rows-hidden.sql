-- Tables whose row-level security holds for us: rows of them would be hidden, so the server refuses to
-- read them. psql: \set tables {users,orders}
SELECT format('%s, from %s', c.relname, current_user) AS key
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (:'tables'::text[])
  AND c.relkind IN ('r', 'p') AND row_security_active(c.oid)
