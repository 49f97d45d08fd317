-- What can write into this database although it is read-only for new sessions and has no others: what it is,
-- and what to do about it. No rows = nothing.
SELECT format('subscription %I is enabled, and what it receives is written here', subname) AS what,
       format('ALTER SUBSCRIPTION %I DISABLE', subname)                                    AS fix
FROM pg_subscription
WHERE subenabled AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL
-- A read-only setting is for sessions, and these are none: pg_cron, the workers of a subscription.
SELECT format('a background worker is at work here, %s (process %s)', backend_type, pid),
       format('stop what starts it, then SELECT pg_terminate_backend(%s)', pid)
FROM pg_stat_activity
WHERE datname = current_database()
  AND backend_type NOT IN ('client backend', 'parallel worker', 'walsender', 'autovacuum worker')
UNION ALL
SELECT format('prepared transaction %s of %I could still be committed', quote_literal(gid), owner),
       format('COMMIT PREPARED %s, or ROLLBACK PREPARED %s', quote_literal(gid), quote_literal(gid))
FROM pg_prepared_xacts
WHERE database = current_database()
UNION ALL
-- And nothing can be changed here that would hold the primary back.
SELECT 'the server is a standby: its primary writes, and only there can it be held back',
       'name the primary in the environment file'
WHERE pg_is_in_recovery()
ORDER BY 1
