-- Sessions of clients on this database that are others', those that write or keep others out first. Whoever
-- is not a member of pg_read_all_stats sees of other roles' processes neither what they are nor what they do,
-- but their locks: `unseen`. What works for nobody, as autovacuum does, has no role.
-- `own`: process and beginning of those that are not to be shown.
-- psql: \set own '{"4711 2026-01-31 23:59:59.5+00"}'
SELECT a.pid, a.usename::text AS "user", coalesce(a.application_name, '') AS application,
       coalesce(host(a.client_addr), 'local') AS client, a.state,
       coalesce(to_char(a.xact_start, 'YYYY-MM-DD HH24:MI:SS "UTC"'), '') AS since,
       coalesce(l.writes, false) OR a.backend_xid IS NOT NULL AS writes, coalesce(l.blocks, false) AS blocks,
       a.backend_type IS NULL AS unseen
FROM pg_stat_activity a
LEFT JOIN (
    SELECT pid,
           bool_or(locktype = 'transactionid' AND mode = 'ExclusiveLock'
                   OR locktype = 'relation' AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock',
                                                         'ExclusiveLock', 'AccessExclusiveLock')) AS writes,
           bool_or(locktype = 'relation' AND mode = 'AccessExclusiveLock') AS blocks
    FROM pg_locks
    -- Of the database's own tables, not of the catalogue's.
    WHERE granted AND (locktype = 'transactionid' OR relation >= 16384)
    GROUP BY pid
) l ON l.pid = a.pid
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
  AND coalesce(a.backend_type, 'client backend') = 'client backend'
  AND format('%s %s', a.pid, a.backend_start) <> ALL (:'own'::text[])
ORDER BY coalesce(l.blocks, false) DESC, 7 DESC, a.xact_start, a.pid
