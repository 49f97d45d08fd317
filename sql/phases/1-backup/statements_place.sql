-- Where the extension pg_stat_statements has its views; no row: it is not in this database.
SELECT n.nspname::text AS schema
FROM pg_extension x
JOIN pg_namespace n ON n.oid = x.extnamespace
WHERE x.extname = 'pg_stat_statements'
