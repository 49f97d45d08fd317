-- The role that initdb has made cannot be the service's: it owns the system's own tables and functions, among them
-- pg_authid and pg_read_file, also where SUPERUSER is taken from it, which from PostgreSQL 16 on cannot be done at
-- all. So it becomes the admin under another name, with all that it owns, and the service gets an ordinary role of the
-- old name and with the old password: nothing changes for the service but what it may.
-- Run by another superuser, because nobody renames himself.
-- psql -1 -v service=product_user -v admin=product_admin -f rename.sql
\set ON_ERROR_STOP on

SELECT statement.text
FROM pg_authid a
CROSS JOIN LATERAL (VALUES (1, format('ALTER ROLE %I RENAME TO %I', a.rolname, :'admin')),
                           (2, format('CREATE ROLE %I LOGIN NOSUPERUSER PASSWORD %L', a.rolname, a.rolpassword)))
                       statement (at, text)
WHERE a.oid = 10 AND a.rolname = :'service'
ORDER BY statement.at
\gexec
