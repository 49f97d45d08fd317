-- Sessions in a transaction that has written something, anywhere on this server: roles and databases belong to
-- all of it, and who has changed one keeps others from changing it. Locks are for everybody to see.
SELECT l.pid,
       coalesce(a.usename::text, '?')                                       AS role,
       coalesce(nullif(a.application_name, ''), 'a session without a name') AS application,
       coalesce(a.datname::text, '?')                                       AS database
FROM pg_locks l
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.pid <> pg_backend_pid()
ORDER BY 1
