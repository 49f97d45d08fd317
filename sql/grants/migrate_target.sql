-- The least that `cargo xtask migrate` needs on each of the three new databases: a staging schema
-- for loading (CREATE on the database), the tables' place in public, temporary tables for
-- verification; and the tables themselves where they are there already, because they are replaced.
-- The schema xtask, where an earlier run has left one, has to be the role's as well, and so have publications that
-- name the tables: the new ones are put into them.
-- Run by the owner of the database (of objects that are there: by a member of both roles, or a superuser).
-- psql -d order_database -v role=migrator -f migrate_target.sql
\set ON_ERROR_STOP on

SELECT format('GRANT CONNECT, CREATE, TEMPORARY ON DATABASE %I TO %I', current_database(), :'role')
\gexec

GRANT USAGE, CREATE ON SCHEMA public TO :"role";

SELECT format('ALTER TABLE %I.%I OWNER TO %I', n.nspname, c.relname, :'role')
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_roles r ON r.oid = c.relowner
WHERE c.relkind = 'r' AND r.rolname <> :'role'
  AND (n.nspname = 'xtask'
       OR n.nspname = 'public' AND c.relname IN ('categories', 'products', 'product_reviews', 'orders',
                                                 'order_items', 'payments', 'api_logs', 'analytics_events'))
\gexec

SELECT format('ALTER SCHEMA %I OWNER TO %I', nspname, :'role')
FROM pg_namespace
WHERE nspname IN ('xtask', 'xtask_staging') AND pg_get_userbyid(nspowner) <> :'role'
\gexec

SELECT DISTINCT format('ALTER PUBLICATION %I OWNER TO %I', p.pubname, :'role')
FROM pg_publication p
JOIN pg_publication_rel m ON m.prpubid = p.oid
JOIN pg_class c ON c.oid = m.prrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE pg_get_userbyid(p.pubowner) <> :'role'
  AND n.nspname = 'public' AND c.relname IN ('categories', 'products', 'product_reviews', 'orders',
                                             'order_items', 'payments', 'api_logs', 'analytics_events')
\gexec
