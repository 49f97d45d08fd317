-- What is wrong with the rights in this database, and with what the server says of itself: a row each. cis: the
-- number in the CIS benchmark for PostgreSQL. todo: a statement; NULL: `cargo xtask harden` does it.
-- weighs: false for what is only worth a thought.
-- Variables: service, admin. Any role may ask; hba.sql asks what only superusers see.
WITH service AS (
    SELECT * FROM pg_roles WHERE rolname = :'service'
), owned (object) AS (
    SELECT format('database %I', datname) FROM pg_database, service WHERE datname = current_database() AND datdba = service.oid
    UNION ALL
    SELECT format('%I.%I', n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, service
    WHERE c.relowner = service.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    UNION ALL
    SELECT format('schema %I', n.nspname) FROM pg_namespace n, service
    WHERE n.nspowner = service.oid AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    UNION ALL
    SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace, service
    WHERE p.proowner = service.oid AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
), found (cis, what, todo, weighs) AS (
    -- 4.3: more than its grants.
    SELECT '4.3', format('the service''s role %I is %s', rolname,
                         concat_ws(', ', CASE WHEN rolsuper THEN 'a superuser' END,
                                         CASE WHEN rolcreaterole THEN 'allowed to make roles' END,
                                         CASE WHEN rolcreatedb THEN 'allowed to make databases' END,
                                         CASE WHEN rolreplication THEN 'allowed to replicate' END,
                                         CASE WHEN rolbypassrls THEN 'past row security' END)), NULL, true
    FROM service
    WHERE rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
    UNION ALL
    SELECT '4.3', format('the service''s role %I is a member of %I', s.rolname, g.rolname), NULL, true
    FROM service s
    JOIN pg_auth_members am ON am.member = s.oid
    JOIN pg_roles g ON g.oid = am.roleid
    WHERE g.rolsuper OR g.rolcreaterole OR g.rolcreatedb OR g.rolreplication OR g.rolbypassrls
       OR g.rolname = :'admin'
       OR g.rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files',
                        'pg_signal_backend', 'pg_write_all_data', 'pg_read_all_data', 'pg_maintain',
                        'pg_create_subscription', 'pg_checkpoint')
    UNION ALL
    SELECT '4.3', format('the service''s role %I owns %s objects here, such as %s: no privilege on them can be refused to it',
                         :'service', count(*), min(object)), NULL, true
    FROM owned HAVING count(*) > 0
    UNION ALL
    SELECT '4.3', format('the service''s role %I is the one that initdb has made: it owns the system''s own tables and functions',
                         rolname), NULL, true
    FROM service WHERE oid = 10
    UNION ALL
    SELECT '4.3', 'a call of harden that was killed has left the superuser xtask_harden', NULL, true
    FROM pg_roles WHERE rolname = 'xtask_harden' AND current_user <> 'xtask_harden'
    UNION ALL
    -- 4.5: routines that run as their owner, for whoever may call them.
    SELECT '4.5', format('%s runs with the rights of %I, its owner (SECURITY DEFINER)', p.oid::regprocedure, o.rolname),
           format('ALTER ROUTINE %s SECURITY INVOKER', p.oid::regprocedure), true
    FROM pg_proc p
    JOIN pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_roles o ON o.oid = p.proowner
    WHERE p.prosecdef AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    UNION ALL
    -- 4.6: what everybody may.
    SELECT '4.6', format('PUBLIC holds %s on database %I', string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type),
                         d.datname),
           CASE WHEN d.datname IN (current_database(), 'postgres', 'template1') THEN NULL
                ELSE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', d.datname) END, true
    FROM pg_database d
    CROSS JOIN aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
    WHERE d.datallowconn AND a.grantee = 0
    GROUP BY d.datname
    UNION ALL
    SELECT '4.6', format('the service''s role %I may connect to database %I', s.rolname, d.datname),
           format('REVOKE CONNECT ON DATABASE %I FROM %I', d.datname, s.rolname), true
    FROM pg_database d, service s
    WHERE d.datallowconn AND d.datname <> current_database() AND NOT s.rolsuper
      AND has_database_privilege(s.oid, d.oid, 'CONNECT')
      AND NOT EXISTS (SELECT
                      FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
                      WHERE a.grantee = 0 AND a.privilege_type = 'CONNECT')
    UNION ALL
    SELECT '4.6', format('PUBLIC holds privileges on %s tables and sequences, such as %I.%I', count(*), min(n.nspname),
                         min(c.relname)), NULL, true
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('public', 'xtask') AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee = 0)
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    HAVING count(*) > 0
    UNION ALL
    SELECT '4.6', format('the service''s role %I holds more than rows on %s tables, such as %s on %I.%I', :'service',
                         count(*), min(a.privilege_type), min(n.nspname), min(c.relname)), NULL, true
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN aclexplode(c.relacl) a
    JOIN service s ON s.oid = a.grantee AND a.grantee <> c.relowner
    WHERE n.nspname = 'xtask'
       OR n.nspname = 'public' AND c.relkind <> 'S' AND a.privilege_type NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
       OR n.nspname = 'public' AND c.relkind = 'S' AND a.privilege_type = 'UPDATE'
    HAVING count(*) > 0
    UNION ALL
    -- 4.10: who may make things in a schema that everybody's search_path has.
    SELECT '4.10', format('%s may CREATE in schema %I', coalesce(format('the service''s role %I', r.rolname), 'PUBLIC'),
                          n.nspname), NULL, true
    FROM pg_namespace n
    CROSS JOIN aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
    LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE n.nspname IN ('public', 'xtask') AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner
      AND (a.grantee = 0 OR r.rolname = :'service')
    UNION ALL
    -- Settings of the server.
    SELECT wrong.cis, format('%s = %s', s.name, s.setting), format('ALTER SYSTEM SET %s = %L; SELECT pg_reload_conf()',
                                                                   s.name, wrong.better), true
    FROM (VALUES ('3.1.20', 'log_connections', 'off', 'on'), ('3.1.21', 'log_disconnections', 'off', 'on'),
                 ('3.1.25', 'log_statement', 'none', 'ddl'), ('5.12', 'password_encryption', 'md5', 'scram-sha-256'))
             wrong (cis, name, value, better)
    JOIN pg_settings s ON s.name = wrong.name AND s.setting = wrong.value
    UNION ALL
    SELECT '6.8', 'ssl = off', 'put server.crt and server.key into the data directory; ALTER SYSTEM SET ssl = on; SELECT pg_reload_conf()', true
    FROM pg_settings WHERE name = 'ssl' AND setting = 'off'
    UNION ALL
    SELECT '5.2', format('listen_addresses = %s: the server listens on every address', setting),
           'ALTER SYSTEM SET listen_addresses = ''the address that the service comes to'', and a restart', false
    FROM pg_settings WHERE name = 'listen_addresses' AND setting ~ '(^|[ ,])(\*|0\.0\.0\.0|::)([ ,]|$)'
    UNION ALL
    SELECT '5.5', format('the service''s role %I may take all %s connections', rolname, current_setting('max_connections')),
           format('ALTER ROLE %I CONNECTION LIMIT the size of its pool', rolname), false
    FROM service WHERE rolconnlimit = -1
)
SELECT cis, what, todo, weighs FROM found ORDER BY string_to_array(cis, '.')::int[], what COLLATE "C"
