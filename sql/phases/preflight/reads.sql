-- Which columns of which tables the views of a schema read: in their output, joins and conditions.
-- psql: \set schema xtask_rows
SELECT v.relname::text AS view, t.relname::text AS "table", a.attname::text AS "column"
FROM pg_class v
JOIN pg_rewrite r ON r.ev_class = v.oid
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
JOIN pg_class t ON t.oid = d.refobjid AND t.oid <> v.oid
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
WHERE v.relnamespace = (:'schema')::regnamespace AND v.relkind = 'v'
