-- A role that logs in, where there is none of this name.
-- attributes: SUPERUSER, or NOSUPERUSER. password: as it is, or better its SCRAM verifier, which is all that the
-- server and its log need to see.
-- Run by a superuser. psql -1 -v role=product_admin -v attributes=NOSUPERUSER -v password=… -f login_role.sql
\set ON_ERROR_STOP on

SELECT format('CREATE ROLE %I LOGIN %s PASSWORD %L', :'role', :'attributes', :'password')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role')
\gexec
