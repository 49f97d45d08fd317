-- The least that `cargo xtask plan`, `backup`, `export` and `migrate` need on the source: read every table,
-- sequence and large object, because the backup holds them all; and see what other sessions do and how far a standby is
-- behind, for max_active_sessions, max_replication_lag and `doctor`. Nothing here lets the role change
-- anything.
-- Run by a superuser, and again after a table or a large object has been added: the owner of the tables can
-- give all but the last two, and the owner of a large object that. Bypassing policies is asked for only where a table has row-level security.
-- psql -d ecommerce_db -v role=migrator -f migrate_source.sql
\set ON_ERROR_STOP on
-- Also on a database that is held back.
SET default_transaction_read_only = off;

SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), :'role')
\gexec

-- Its schemas with tables or sequences.
SELECT DISTINCT format('GRANT USAGE ON SCHEMA %I TO %I', n.nspname, :'role')
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
\gexec

-- SELECT is all that pg_dump's locks, COPY and the sequences' state ask for.
SELECT format('GRANT SELECT ON %s %I.%I TO %I',
              CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, n.nspname, c.relname, :'role')
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY 1
\gexec

-- Large objects of other roles, each by itself: pg_dump reads all of them.
SELECT format('GRANT SELECT ON LARGE OBJECT %s TO %I', m.oid, :'role')
FROM pg_largeobject_metadata m
WHERE NOT EXISTS (SELECT FROM aclexplode(coalesce(m.lomacl, acldefault('L', m.lomowner))) a
                  WHERE a.privilege_type = 'SELECT'
                    AND CASE WHEN a.grantee = 0 THEN true ELSE pg_has_role(:'role', a.grantee, 'USAGE') END)
ORDER BY m.oid
\gexec

GRANT pg_read_all_stats TO :"role";

SELECT format('ALTER ROLE %I BYPASSRLS', :'role')
WHERE EXISTS (SELECT FROM pg_class WHERE relrowsecurity)
\gexec
