-- What the way back needs on the old database beside migrate_source.sql and freeze.sql: to write the ten tables and
-- raise their sequences, temporary tables, a schema xtask of its own, to keep triggers quiet (membership in the owner
-- of a table that has any; freeze.sql gives that of the database), and to make databases, for a restore.
-- Run by a superuser. psql -d ecommerce_db -v role=migrator -f rollback.sql
\set ON_ERROR_STOP on
-- Also on a database that is held back.
SET default_transaction_read_only = off;

SELECT format('GRANT CREATE, TEMPORARY ON DATABASE %I TO %I', current_database(), :'role')
\gexec

SELECT format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I.%I TO %I', n.nspname, c.relname, :'role')
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public'
  AND c.relname IN ('users', 'user_sessions', 'categories', 'products', 'product_reviews', 'orders', 'order_items',
                    'payments', 'system_logs', 'analytics_events')
ORDER BY 1
\gexec

SELECT format('GRANT %I TO %I', o.rolname, :'role')
FROM (SELECT DISTINCT c.relowner
      FROM pg_class c
      JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal
      WHERE c.relnamespace = 'public'::regnamespace) owned
JOIN pg_roles o ON o.oid = owned.relowner
WHERE NOT o.rolsuper AND NOT pg_has_role(:'role', o.oid, 'USAGE')
\gexec

SELECT format('GRANT SELECT, UPDATE ON SEQUENCE %I.%I TO %I', n.nspname, c.relname, :'role')
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND n.nspname = 'public'
ORDER BY 1
\gexec

ALTER ROLE :"role" CREATEDB;
