-- Tables of this database that are not among `known`, and about how many rows each has, by its statistics.
-- psql: \set known '{public.users,public.orders}'
SELECT format('%s.%s', n.nspname, c.relname) AS name,
       greatest(c.reltuples::bigint, s.n_live_tup, 0) AS rows
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND format('%s.%s', n.nspname, c.relname) <> ALL (:'known'::text[])
ORDER BY 1
