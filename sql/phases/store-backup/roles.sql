-- The server's own roles: a dump speaks of them and holds none.
SELECT rolname::text AS role FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1
