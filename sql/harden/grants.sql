-- What the service may do in its database, and what nobody may who is not named: the least that it needs to read
-- and write rows. Every statement is made only where it is needed, so that a second call changes nothing.
-- readonly: a role that nobody logs in as; GRANT it to those who may read everything.
-- Run by a superuser, after owner.sql.
-- psql -1 -d product_database -v service=product_user -v admin=product_admin -v readonly=product_database_readonly \
--      -f grants.sql
\set ON_ERROR_STOP on

SELECT format('CREATE ROLE %I NOLOGIN', :'readonly')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'readonly')
\gexec

-- Who comes in: the service, those who read, and those who hold a privilege on a table by their own name.
SELECT format('GRANT CONNECT ON DATABASE %I TO %I', d.datname, wanted.role)
FROM pg_database d
CROSS JOIN (SELECT :'service' AS role
            UNION SELECT :'readonly'
            UNION SELECT r.rolname::text
                  FROM pg_class c
                  JOIN pg_namespace n ON n.oid = c.relnamespace
                  CROSS JOIN aclexplode(c.relacl) a
                  JOIN pg_roles r ON r.oid = a.grantee
                  WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
                    AND a.grantee <> c.relowner AND NOT r.rolsuper) wanted
WHERE d.datname = current_database()
  AND NOT EXISTS (SELECT
                  FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
                  JOIN pg_roles r ON r.oid = a.grantee
                  WHERE r.rolname = wanted.role AND a.privilege_type = 'CONNECT')
ORDER BY 1
\gexec

SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', d.datname)
FROM pg_database d
WHERE d.datname = current_database()
  AND EXISTS (SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a WHERE a.grantee = 0)
\gexec

SELECT format('REVOKE CREATE, TEMPORARY ON DATABASE %I FROM %I', d.datname, :'service')
FROM pg_database d
WHERE d.datname = current_database()
  AND EXISTS (SELECT
              FROM aclexplode(d.datacl) a
              JOIN pg_roles r ON r.oid = a.grantee
              WHERE r.rolname = :'service' AND a.grantee <> d.datdba
                AND a.privilege_type IN ('CREATE', 'TEMPORARY'))
\gexec

-- The maintenance databases: whoever could come in before by PUBLIC still can by name, but for the service.
SELECT format('GRANT CONNECT ON DATABASE %I TO %I', d.datname, r.rolname)
FROM pg_database d
CROSS JOIN pg_roles r
WHERE d.datname IN ('postgres', 'template1') AND d.datname <> current_database()
  AND r.rolcanlogin AND NOT r.rolsuper AND r.rolname <> :'service'
  AND EXISTS (SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a WHERE a.grantee = 0)
  AND NOT EXISTS (SELECT FROM aclexplode(d.datacl) a WHERE a.grantee = r.oid AND a.privilege_type = 'CONNECT')
ORDER BY 1
\gexec

SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', d.datname)
FROM pg_database d
WHERE d.datname IN ('postgres', 'template1') AND d.datname <> current_database()
  AND EXISTS (SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a WHERE a.grantee = 0)
ORDER BY 1
\gexec

-- The schema: looked into by those who come in, changed by its owner alone. Up to PostgreSQL 14 that is the role of
-- initdb and not the database's owner, so the admin is named.
SELECT format('GRANT USAGE, CREATE ON SCHEMA public TO %I', a.rolname)
FROM pg_roles a
WHERE a.rolname = :'admin' AND NOT a.rolsuper
  AND NOT (has_schema_privilege(a.oid, 'public', 'USAGE') AND has_schema_privilege(a.oid, 'public', 'CREATE'))
\gexec

SELECT format('GRANT USAGE ON SCHEMA public TO %I', wanted.role)
FROM pg_namespace n
CROSS JOIN (SELECT :'service' AS role
            UNION SELECT :'readonly'
            UNION SELECT r.rolname::text
                  FROM pg_class c
                  CROSS JOIN aclexplode(c.relacl) a
                  JOIN pg_roles r ON r.oid = a.grantee
                  WHERE c.relnamespace = 'public'::regnamespace AND a.grantee <> c.relowner AND NOT r.rolsuper) wanted
WHERE n.nspname = 'public'
  AND NOT EXISTS (SELECT
                  FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
                  JOIN pg_roles r ON r.oid = a.grantee
                  WHERE r.rolname = wanted.role AND a.privilege_type = 'USAGE')
ORDER BY 1
\gexec

SELECT format('REVOKE ALL ON SCHEMA %I FROM PUBLIC', n.nspname)
FROM pg_namespace n
WHERE n.nspname IN ('public', 'xtask')
  AND EXISTS (SELECT FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a WHERE a.grantee = 0)
ORDER BY 1
\gexec

SELECT format('REVOKE %s ON SCHEMA %I FROM %I', CASE n.nspname WHEN 'xtask' THEN 'ALL' ELSE 'CREATE' END, n.nspname,
              :'service')
FROM pg_namespace n
WHERE n.nspname IN ('public', 'xtask')
  AND EXISTS (SELECT
              FROM aclexplode(n.nspacl) a
              JOIN pg_roles r ON r.oid = a.grantee
              WHERE r.rolname = :'service' AND a.grantee <> n.nspowner
                AND (n.nspname = 'xtask' OR a.privilege_type = 'CREATE'))
ORDER BY 1
\gexec

-- Tables: nothing for PUBLIC; of what the service held before, TRUNCATE, REFERENCES and TRIGGER go.
SELECT format('REVOKE ALL ON %s %I.%I FROM PUBLIC', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
              n.nspname, c.relname)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'xtask') AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  AND EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee = 0)
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1
\gexec

SELECT format('REVOKE %s ON %s %I.%I FROM %I', string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type),
              CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, n.nspname, c.relname, :'service')
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN aclexplode(c.relacl) a
JOIN pg_roles r ON r.oid = a.grantee
WHERE n.nspname IN ('public', 'xtask') AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  AND r.rolname = :'service' AND a.grantee <> c.relowner
  AND (n.nspname = 'xtask'
       OR c.relkind = 'S' AND a.privilege_type = 'UPDATE'
       OR c.relkind <> 'S' AND a.privilege_type NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE'))
GROUP BY c.relkind, n.nspname, c.relname
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
\gexec

-- Rows for the service, in the tables that are the admin's; views are read.
SELECT format('GRANT %s ON %s public.%I TO %I', string_agg(wanted.privilege, ', ' ORDER BY wanted.at),
              CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.relname, wanted.role)
FROM pg_class c
JOIN pg_roles o ON o.oid = c.relowner
JOIN (VALUES (:'service', 'rp', 'SELECT', 1), (:'service', 'rp', 'INSERT', 2), (:'service', 'rp', 'UPDATE', 3),
             (:'service', 'rp', 'DELETE', 4), (:'service', 'vmf', 'SELECT', 1),
             (:'service', 'S', 'USAGE', 1), (:'service', 'S', 'SELECT', 2),
             (:'readonly', 'rpvmfS', 'SELECT', 1)) wanted (role, kinds, privilege, at)
  ON strpos(wanted.kinds, c.relkind::text) > 0
WHERE c.relnamespace = 'public'::regnamespace AND o.rolname IN (:'admin', :'service')
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
  AND NOT EXISTS (SELECT
                  FROM aclexplode(c.relacl) a
                  JOIN pg_roles r ON r.oid = a.grantee
                  WHERE r.rolname = wanted.role AND a.privilege_type = wanted.privilege AND a.grantee <> c.relowner)
GROUP BY c.relkind, c.relname, wanted.role
ORDER BY c.relname COLLATE "C", wanted.role COLLATE "C"
\gexec

-- The same of tables that the admin makes later.
SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA public GRANT %s ON %s TO %I', :'admin',
              string_agg(wanted.privilege, ', ' ORDER BY wanted.at),
              CASE wanted.kind WHEN 'S' THEN 'SEQUENCES' ELSE 'TABLES' END, wanted.role)
FROM (VALUES (:'service', 'r', 'SELECT', 1), (:'service', 'r', 'INSERT', 2), (:'service', 'r', 'UPDATE', 3),
             (:'service', 'r', 'DELETE', 4), (:'service', 'S', 'USAGE', 1), (:'service', 'S', 'SELECT', 2),
             (:'readonly', 'r', 'SELECT', 1), (:'readonly', 'S', 'SELECT', 1)) wanted (role, kind, privilege, at)
WHERE NOT EXISTS (SELECT
                  FROM pg_default_acl d
                  JOIN pg_roles o ON o.oid = d.defaclrole
                  CROSS JOIN aclexplode(d.defaclacl) a
                  JOIN pg_roles r ON r.oid = a.grantee
                  WHERE o.rolname = :'admin' AND d.defaclnamespace = 'public'::regnamespace
                    AND d.defaclobjtype::text = wanted.kind
                    AND r.rolname = wanted.role AND a.privilege_type = wanted.privilege)
GROUP BY wanted.kind, wanted.role
ORDER BY wanted.role COLLATE "C", wanted.kind COLLATE "C"
\gexec
