-- The tables that the queries read: their rows as the planner takes them to be, and where it knows nothing of
-- what is in them, the statement that tells it. psql: \set tables '{orders,order_items}'
-- A table that is not there has no row.
SELECT c.relname::text AS "table",
       greatest(c.reltuples, 0)::bigint AS rows,
       CASE WHEN pg_relation_size(c.oid) > 0
             AND s.last_analyze IS NULL AND s.last_autoanalyze IS NULL
             AND NOT EXISTS (SELECT FROM pg_stats p WHERE p.schemaname = 'public' AND p.tablename = c.relname)
            THEN format('ANALYZE public.%I;', c.relname)
       END AS statement
FROM pg_class c
LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
WHERE c.relnamespace = 'public'::regnamespace
  AND c.relkind IN ('r', 'p')
  AND c.relname::text = ANY (:'tables'::text[])
ORDER BY 1
