-- What this session's role needs on the old database to take a run back (grants/rollback.sql): each with whether it is
-- held, and the statement that gives what is missing. psql: \set tables {orders,payments}
SELECT 'CREATE on database ' || quote_ident(current_database()) || ', for schema xtask' AS "grant",
       has_database_privilege(current_database(), 'CREATE')
       OR coalesce(has_schema_privilege(to_regnamespace('xtask')::oid, 'CREATE'), false) AS held,
       format('GRANT CREATE ON DATABASE %I TO %I', current_database(), current_user) AS statement
UNION ALL
SELECT 'TEMPORARY on database ' || quote_ident(current_database()),
       has_database_privilege(current_database(), 'TEMPORARY'),
       format('GRANT TEMPORARY ON DATABASE %I TO %I', current_database(), current_user)
UNION ALL
SELECT format('%s on %I', needed.privilege, c.relname), has_table_privilege(c.oid, needed.privilege),
       format('GRANT %s ON public.%I TO %I', needed.privilege, c.relname, current_user)
FROM pg_class c
CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) needed (privilege)
WHERE c.relnamespace = to_regnamespace('public') AND c.relname = ANY (:'tables'::text[])
UNION ALL
-- To keep a trigger from firing one has to own its table.
SELECT format('ownership of %I, which has triggers', c.relname), pg_has_role(c.relowner, 'USAGE'),
       format('GRANT %I TO %I', o.rolname, current_user)
FROM pg_class c
JOIN pg_roles o ON o.oid = c.relowner
WHERE c.relnamespace = to_regnamespace('public') AND c.relname = ANY (:'tables'::text[])
  AND EXISTS (SELECT FROM pg_trigger t
              WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A'))
UNION ALL
SELECT DISTINCT format('UPDATE on sequence %I', s.relname), has_sequence_privilege(s.oid, 'UPDATE'),
       format('GRANT SELECT, UPDATE ON SEQUENCE %I.%I TO %I', sn.nspname, s.relname, current_user)
FROM pg_class s
JOIN pg_namespace sn ON sn.oid = s.relnamespace
JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.oid AND d.refclassid = 'pg_class'::regclass
                AND d.deptype IN ('a', 'i')
JOIN pg_class c ON c.oid = d.refobjid
WHERE s.relkind = 'S' AND c.relnamespace = to_regnamespace('public') AND c.relname = ANY (:'tables'::text[])
ORDER BY 1
