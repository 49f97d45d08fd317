-- Sessions of this database that are not this tool's, begun in a span of time.
-- psql: \set from '-infinity' \set to 'infinity'
-- Who may not see when a session began takes it for one of them. Senders of replication are not ended.
SELECT a.pid,
       coalesce(a.usename::text, '')          AS role,
       coalesce(a.application_name, '')       AS application,
       r.rolsuper AND NOT me.rolsuper         AS above_us
FROM pg_stat_activity a
JOIN pg_roles r ON r.oid = a.usesysid
JOIN pg_roles me ON me.rolname = current_user
WHERE a.datname = current_database()
  AND a.pid <> pg_backend_pid()
  AND coalesce(a.backend_type, 'client backend') = 'client backend'
  AND coalesce(a.application_name, '') NOT LIKE 'xtask %'
  AND coalesce(a.backend_start BETWEEN :'from'::timestamptz AND :'to'::timestamptz, true)
  AND NOT EXISTS (SELECT FROM pg_stat_replication s WHERE s.pid = a.pid)
ORDER BY 1
