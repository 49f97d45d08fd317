-- What the service's role owns in this database becomes the admin's: an owner can do everything with a table, and
-- no privilege can be refused to it. Not by REASSIGN OWNED, which does nothing for the role that initdb has made,
-- and reaches into other databases.
-- Run by a superuser. psql -1 -d product_database -v service=product_user -v admin=product_admin -f owner.sql
\set ON_ERROR_STOP on

SELECT format('ALTER DATABASE %I OWNER TO %I', d.datname, :'admin')
FROM pg_database d
JOIN pg_roles o ON o.oid = d.datdba
WHERE d.datname = current_database() AND o.rolname = :'service'
\gexec

SELECT format('ALTER SCHEMA %I OWNER TO %I', n.nspname, :'admin')
FROM pg_namespace n
JOIN pg_roles o ON o.oid = n.nspowner
WHERE o.rolname = :'service' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname COLLATE "C"
\gexec

-- A sequence of a column goes with its table, and what belongs to an extension stays the extension's.
SELECT format('ALTER %s %I.%I OWNER TO %I',
              CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE'
                             WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
              n.nspname, c.relname, :'admin')
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_roles o ON o.oid = c.relowner
WHERE o.rolname = :'service' AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                    AND (d.deptype = 'e' OR c.relkind = 'S' AND d.deptype IN ('a', 'i')))
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
\gexec

SELECT format('ALTER ROUTINE %s OWNER TO %I', p.oid::regprocedure, :'admin')
FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace
JOIN pg_roles o ON o.oid = p.proowner
WHERE o.rolname = :'service' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
ORDER BY 1
\gexec

-- Enums, domains, ranges, and composite types that are no table's.
SELECT format('ALTER TYPE %I.%I OWNER TO %I', n.nspname, t.typname, :'admin')
FROM pg_type t
JOIN pg_namespace n ON n.oid = t.typnamespace
JOIN pg_roles o ON o.oid = t.typowner
LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE o.rolname = :'service' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND c.relkind = 'c')
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
ORDER BY 1
\gexec

SELECT format('ALTER STATISTICS %I.%I OWNER TO %I', n.nspname, s.stxname, :'admin')
FROM pg_statistic_ext s
JOIN pg_namespace n ON n.oid = s.stxnamespace
JOIN pg_roles o ON o.oid = s.stxowner
WHERE o.rolname = :'service'
ORDER BY 1
\gexec

SELECT format('ALTER PUBLICATION %I OWNER TO %I', p.pubname, :'admin')
FROM pg_publication p
JOIN pg_roles o ON o.oid = p.pubowner
WHERE o.rolname = :'service'
ORDER BY 1
\gexec
