-- What lets the service's role do more than its grants say: memberships, and attributes of its own. The attributes
-- last: the role may be the one that runs this. The role that initdb has made is not among these: rename.sql.
-- Run by a superuser. psql -1 -v service=product_user -v admin=product_admin -f superuser.sql
\set ON_ERROR_STOP on

SELECT format('REVOKE %I FROM %I', g.rolname, m.rolname)
FROM pg_auth_members am
JOIN pg_roles g ON g.oid = am.roleid
JOIN pg_roles m ON m.oid = am.member
WHERE m.rolname = :'service'
  AND (g.rolsuper OR g.rolcreaterole OR g.rolcreatedb OR g.rolreplication OR g.rolbypassrls
       OR g.rolname IN (:'admin', 'pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files',
                        'pg_signal_backend', 'pg_write_all_data', 'pg_read_all_data', 'pg_maintain',
                        'pg_create_subscription', 'pg_checkpoint'))
ORDER BY 1
\gexec

-- The admin ends the service's sessions where it has to hold them out, and tries what the service may.
SELECT format('GRANT %I TO %I', wanted.role, a.rolname)
FROM pg_roles a
CROSS JOIN (VALUES ('pg_signal_backend'), (:'service')) wanted (role)
WHERE a.rolname = :'admin' AND NOT a.rolsuper AND NOT pg_has_role(a.oid, wanted.role, 'USAGE')
ORDER BY 1
\gexec

-- Left by a call that was killed: its password is nowhere.
SELECT 'DROP ROLE xtask_harden'
WHERE current_user <> 'xtask_harden' AND EXISTS (SELECT FROM pg_roles WHERE rolname = 'xtask_harden')
\gexec

SELECT format('ALTER ROLE %I %s', rolname,
              concat_ws(' ', CASE WHEN rolcreatedb THEN 'NOCREATEDB' END,
                             CASE WHEN rolcreaterole THEN 'NOCREATEROLE' END,
                             CASE WHEN rolreplication THEN 'NOREPLICATION' END,
                             CASE WHEN rolbypassrls THEN 'NOBYPASSRLS' END,
                             CASE WHEN rolsuper THEN 'NOSUPERUSER' END))
FROM pg_roles
WHERE rolname = :'service' AND (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls)
\gexec
