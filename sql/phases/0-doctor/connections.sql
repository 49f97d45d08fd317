-- Connections that this role may still open here: of the server, of the database, of the role. NULL: no
-- limit.
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true)::int, 0)
           - (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL)::int AS server,
       (SELECT d.datconnlimit - (SELECT count(*) FROM pg_stat_activity a WHERE a.datid = d.oid)::int
        FROM pg_database d
        WHERE d.datname = current_database() AND d.datconnlimit >= 0) AS database,
       (SELECT r.rolconnlimit - (SELECT count(*) FROM pg_stat_activity a WHERE a.usesysid = r.oid)::int
        FROM pg_roles r
        WHERE r.rolname = current_user AND r.rolconnlimit >= 0) AS role
