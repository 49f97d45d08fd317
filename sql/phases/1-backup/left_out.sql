-- What pg_dump leaves out of the database as this role dumps it, and why. `oid`: of a table of which it takes
-- some rows only, or none at all.
-- The tables of an extension are made again by CREATE EXTENSION, so that only the rows of those are dumped
-- that it calls its configuration, and of these only such as it says.
SELECT format('%s.%s', n.nspname, c.relname) AS name,
       CASE WHEN p.position IS NULL THEN format('a table of the extension %s: none of its rows', x.extname)
            ELSE format('a table of the extension %s: only its rows %s', x.extname, x.extcondition[p.position])
       END AS why,
       c.oid AS oid,
       p.position IS NULL AS whole
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0
                AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
JOIN pg_extension x ON x.oid = d.refobjid
CROSS JOIN LATERAL (SELECT array_position(x.extconfig, c.oid) AS position) p
WHERE c.relkind = 'r' AND (p.position IS NULL OR x.extcondition[p.position] <> '')
UNION ALL
SELECT format('%s.%s', n.nspname, c.relname),
       format('a foreign table: its rows are on the server %s', s.srvname), NULL, NULL
FROM pg_foreign_table f
JOIN pg_class c ON c.oid = f.ftrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_foreign_server s ON s.oid = f.ftserver
UNION ALL
SELECT format('subscription %s', s.subname), format('%s is no superuser', current_user), NULL, NULL
FROM pg_subscription s
JOIN pg_roles r ON r.rolname = current_user
WHERE s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND NOT r.rolsuper
ORDER BY 1
