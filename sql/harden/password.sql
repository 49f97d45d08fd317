-- Another password for a role; password: as in login_role.sql.
-- Run by a superuser. psql -1 -v role=product_user -v password=… -f password.sql
\set ON_ERROR_STOP on

SELECT format('ALTER ROLE %I PASSWORD %L', :'role', :'password')
\gexec
