-- What is tried as the service's role after the grants, each in a savepoint that is rolled back: what has to be
-- refused, and what has to work. By hand: SET ROLE, then one of the statements, inside BEGIN and ROLLBACK.
-- Variables: service, admin. As the database's owner or a superuser.
WITH tables AS (
    SELECT format('%I.%I', n.nspname, c.relname) AS name, n.nspname AS schema,
           n.nspname = 'public' AND o.rolname = :'admin' AS ours
    FROM pg_class c
    JOIN pg_roles o ON o.oid = c.relowner
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('public', 'xtask')
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
)
SELECT what, statement, refused
FROM (
    SELECT 1 AS at, 'makes a table in public' AS what, 'CREATE TABLE public.xtask_harden_trial ()' AS statement, true AS refused
    UNION ALL SELECT 2, 'makes a schema', 'CREATE SCHEMA xtask_harden_trial', true
    UNION ALL SELECT 3, 'makes a temporary table', 'CREATE TEMPORARY TABLE xtask_harden_trial ()', true
    UNION ALL SELECT 4, 'changes a table: ' || name, format('ALTER TABLE %s ADD COLUMN xtask_harden_trial int', name), true
              FROM tables WHERE schema = 'public'
    UNION ALL SELECT 5, 'drops a table: ' || name, format('DROP TABLE %s CASCADE', name), true FROM tables WHERE schema = 'public'
    UNION ALL SELECT 6, 'empties a table: ' || name, format('TRUNCATE %s CASCADE', name), true FROM tables WHERE schema = 'public'
    UNION ALL SELECT 7, 'reads the tool''s own table ' || name, format('SELECT FROM %s LIMIT 0', name), true
              FROM tables WHERE schema = 'xtask'
    UNION ALL SELECT 8, 'runs a program on the server', 'COPY (SELECT) TO PROGRAM ''cat''', true
    UNION ALL SELECT 9, 'reads a file of the server', 'SELECT pg_read_file(''PG_VERSION'')', true
    UNION ALL SELECT 10, 'makes itself a superuser', format('ALTER ROLE %I SUPERUSER', :'service'), true
    UNION ALL SELECT 11, 'makes a role', 'CREATE ROLE xtask_harden_trial', true
    UNION ALL SELECT 12, 'reads the passwords', 'SELECT FROM pg_authid LIMIT 0', true
    UNION ALL SELECT 20, 'reads ' || name, format('SELECT FROM %s LIMIT 0', name), false FROM tables WHERE ours
    UNION ALL SELECT 21, 'writes ' || name,
                     format('SELECT 1 / (has_table_privilege(%L, ''INSERT'') AND has_table_privilege(%L, ''UPDATE'')
                                         AND has_table_privilege(%L, ''DELETE''))::int', name, name, name), false
              FROM tables WHERE ours
    UNION ALL SELECT 22, 'takes numbers of ' || s.relname,
                     format('SELECT 1 / has_sequence_privilege(%L, ''USAGE'')::int', s.oid::regclass), false
              FROM pg_class s
              JOIN pg_roles o ON o.oid = s.relowner
              WHERE s.relkind = 'S' AND s.relnamespace = 'public'::regnamespace AND o.rolname = :'admin'
) trials
ORDER BY at, what COLLATE "C"
