-- What holding the source back needs beside migrate_source.sql: to make the database read-only one has
-- to own it (here: by membership in its owner; a database that a superuser owns changes hands, because
-- membership in a superuser would be far more), to end sessions of others a member of
-- pg_signal_backend (which cannot end a superuser's), to shut out the services' login roles CREATEROLE
-- and, from PostgreSQL 16 on, the ADMIN option on each of them.
-- Run by a superuser. roles: the login roles of the services, {} for none.
-- psql -d ecommerce_db -v role=migrator -v roles='{shop_web,shop_worker}' -f freeze.sql
\set ON_ERROR_STOP on
-- Also on a database that is held back already.
SET default_transaction_read_only = off;

SELECT CASE WHEN o.rolsuper THEN format('ALTER DATABASE %I OWNER TO %I', d.datname, :'role')
            ELSE format('GRANT %I TO %I', o.rolname, :'role') END
FROM pg_database d
JOIN pg_roles o ON o.oid = d.datdba
WHERE d.datname = current_database() AND NOT pg_has_role(:'role', d.datdba, 'USAGE')
\gexec

GRANT pg_signal_backend TO :"role";

SELECT format('ALTER ROLE %I CREATEROLE', :'role')
WHERE cardinality(:'roles'::text[]) > 0
\gexec

SELECT format('GRANT %I TO %I WITH ADMIN OPTION', named.role, :'role')
FROM unnest(:'roles'::text[]) named (role)
WHERE current_setting('server_version_num')::int >= 160000
\gexec
