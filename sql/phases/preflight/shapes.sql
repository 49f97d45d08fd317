-- The columns of all tables and views of a schema. psql: \set schema xtask_expected
SELECT c.relname::text AS "table", a.attname::text AS "column", format_type(a.atttypid, a.atttypmod) AS type,
       t.typname::text AS name
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relnamespace = (:'schema')::regnamespace AND c.relkind IN ('r', 'v')
ORDER BY 1, a.attnum
