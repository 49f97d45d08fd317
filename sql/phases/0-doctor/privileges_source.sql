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
SELECT 'BYPASSRLS: policies hide rows of ' || name, false, format('ALTER ROLE %I BYPASSRLS', current_user)
FROM relation
WHERE relkind <> 'S' AND row_security_active(oid)
UNION ALL
SELECT 'membership in pg_read_all_stats', pg_has_role('pg_read_all_stats', 'USAGE'),
       format('GRANT pg_read_all_stats TO %I', current_user)
WHERE :limits
ORDER BY 1
