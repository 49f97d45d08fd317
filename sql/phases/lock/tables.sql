-- Sessions that keep everybody out of tables of this database, or wait to: the tables, and who it is. Of
-- other roles' sessions only superusers and pg_read_all_stats see since when and from where.
SELECT l.pid,
       CASE WHEN bool_or(l.granted) THEN 'keeps everybody out of'
            ELSE 'waits, behind ' || array_to_string(pg_blocking_pids(l.pid), ', ') || ', to alter' END AS does,
       string_agg(DISTINCT c.oid::regclass::text, ', ')                   AS tables,
       coalesce(a.usename::text, '?')                                     AS role,
       coalesce(nullif(a.application_name, ''), 'a session without a name') AS application,
       coalesce(host(a.client_addr), 'a local socket')                    AS client,
       coalesce(to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'), '?') AS since
FROM pg_locks l
JOIN pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p', 'S')
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname !~ '^pg_'
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
GROUP BY l.pid, a.usename, a.application_name, a.client_addr, a.xact_start
ORDER BY 1
