-- Sessions of a database (an empty name: of this one) that are not this process's own, begun in a span of time.
-- `own`: process and beginning of those that are; their name says nothing, anybody can set it.
-- psql: \set database '' \set from '-infinity' \set to 'infinity' \set own '{"4711 2026-01-31 23:59:59.5+00"}'
-- Who may not see when a session began takes it for one of them. Senders of replication are not ended.
SELECT a.pid,
       coalesce(a.usename::text, '')          AS role,
       coalesce(a.application_name, '')       AS application,
       r.rolsuper AND NOT me.rolsuper         AS above_us,
       coalesce(a.backend_start::text, '')    AS began
FROM pg_stat_activity a
JOIN pg_roles r ON r.oid = a.usesysid
JOIN pg_roles me ON me.rolname = current_user
WHERE a.datname = coalesce(nullif(:'database', ''), current_database())
  AND a.pid <> pg_backend_pid()
  AND coalesce(a.backend_type, 'client backend') = 'client backend'
  AND format('%s %s', a.pid, a.backend_start) <> ALL (:'own'::text[])
  AND coalesce(a.backend_start BETWEEN :'from'::timestamptz AND :'to'::timestamptz, true)
  AND NOT EXISTS (SELECT FROM pg_stat_replication s WHERE s.pid = a.pid)
ORDER BY 1
