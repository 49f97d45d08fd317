-- The single-column foreign keys of a schema: what the check for orphans looks at. psql: \set schema public
SELECT t.relname::text AS "table", a.attname::text AS "column", p.relname::text AS parent, b.attname::text AS parent_column
FROM pg_constraint k
JOIN pg_class t ON t.oid = k.conrelid
JOIN pg_class p ON p.oid = k.confrelid
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.conkey[1]
JOIN pg_attribute b ON b.attrelid = p.oid AND b.attnum = k.confkey[1]
WHERE k.contype = 'f' AND t.relnamespace = (:'schema')::regnamespace AND cardinality(k.conkey) = 1
ORDER BY 1, 2
