-- Every table of the source that holds rows, those that are not migrated too. Partitions are listed
-- by themselves, their parents hold none.
SELECT n.nspname::text                AS schema,
       c.relname::text                AS "table",
       c.oid                          AS oid,
       greatest(c.reltuples, 0)::bigint AS estimated_rows,
       pg_table_size(c.oid)           AS bytes
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r'
  AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema'
  AND n.nspname !~ '^pg_'
ORDER BY pg_table_size(c.oid) DESC, 1, 2
