-- What this session's role needs on the source (grants/migrate_source.sql): each with whether it is
-- held, and the statement that gives what is missing. psql: \set limits true  (load limits are set)
WITH relation AS (
    SELECT c.oid, c.relkind, n.oid AS schema, n.nspname, format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
)
SELECT 'USAGE on schema ' || quote_ident(nspname) AS "grant", has_schema_privilege(schema, 'USAGE') AS held,
       format('GRANT USAGE ON SCHEMA %I TO %I', nspname, current_user) AS statement
FROM relation
GROUP BY schema, nspname
UNION ALL
SELECT 'SELECT on ' || name, has_table_privilege(oid, 'SELECT'),
       format('GRANT SELECT ON TABLE %s TO %I', name, current_user)
FROM relation
WHERE relkind <> 'S'
UNION ALL
SELECT 'SELECT on sequence ' || name, has_sequence_privilege(oid, 'SELECT'),
       format('GRANT SELECT ON SEQUENCE %s TO %I', name, current_user)
FROM relation
WHERE relkind = 'S'
UNION ALL
SELECT 'BYPASSRLS past the policies of ' || name, false, format('ALTER ROLE %I BYPASSRLS', current_user)
FROM relation
WHERE relkind <> 'S' AND row_security_active(oid)
UNION ALL
-- pg_read_all_data does not cover large objects. Many of one owner have one line, and a statement for all.
SELECT format('SELECT on large objects of %I (%s of them)', pg_get_userbyid(lomowner), count(*)), false,
       CASE WHEN count(*) <= 20
                THEN format('GRANT SELECT ON LARGE OBJECT %s TO %I', string_agg(oid::text, ', ' ORDER BY oid),
                            current_user)
            ELSE format('DO $$ DECLARE l oid; BEGIN FOR l IN SELECT oid FROM pg_largeobject_metadata '
                        'WHERE pg_get_userbyid(lomowner) = %L LOOP '
                        'EXECUTE format(''GRANT SELECT ON LARGE OBJECT %%s TO %%I'', l, %L); END LOOP; END $$',
                        pg_get_userbyid(lomowner), current_user) END
FROM pg_largeobject_metadata m
WHERE NOT current_setting('lo_compat_privileges')::boolean
  AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
  AND NOT EXISTS (SELECT FROM aclexplode(coalesce(m.lomacl, acldefault('L', m.lomowner))) a
                  WHERE a.privilege_type = 'SELECT'
                    AND CASE WHEN a.grantee = 0 THEN true ELSE pg_has_role(a.grantee, 'USAGE') END)
GROUP BY lomowner
UNION ALL
SELECT 'membership in pg_read_all_stats', pg_has_role('pg_read_all_stats', 'USAGE'),
       format('GRANT pg_read_all_stats TO %I', current_user)
WHERE :limits
ORDER BY 1
