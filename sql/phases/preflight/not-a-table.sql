-- What has the name of a table and is a view, a foreign or partitioned table, or has to do with
-- inheritance: its rows are not its own, or not all of them. psql: \set tables {users,orders}
SELECT format('public.%I is %s', c.relname, CASE
           WHEN c.relkind = 'v' THEN 'a view'
           WHEN c.relkind = 'm' THEN 'a materialized view'
           WHEN c.relkind = 'f' THEN 'a foreign table'
           WHEN c.relkind = 'p' THEN 'a partitioned table'
           WHEN c.relkind <> 'r' THEN 'no table'
           WHEN EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid)
               THEN (SELECT 'the parent of ' || string_agg(i.inhrelid::regclass::text, ', ' ORDER BY i.inhrelid::regclass::text)
                     FROM pg_inherits i WHERE i.inhparent = c.oid)
           ELSE 'a child of another table' END) AS key
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (:'tables'::text[])
  AND (c.relkind <> 'r' OR EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhparent, i.inhrelid)))
