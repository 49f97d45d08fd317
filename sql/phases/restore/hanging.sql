-- What hangs on a database and would be left behind, or broken, by a rename: what it is, and what to do about it.
-- Asked from another database. psql: \set database ecommerce_db
SELECT format('replication slot %s reads it', quote_literal(slot_name)) AS what,
       format('drop it when nobody needs it any more: SELECT pg_drop_replication_slot(%L)', slot_name) AS fix
FROM pg_replication_slots
WHERE database = :'database'
UNION ALL
SELECT format('subscription %I writes into it', s.subname),
       format('in that database: ALTER SUBSCRIPTION %1$I DISABLE; ALTER SUBSCRIPTION %1$I SET (slot_name = NONE); '
              'DROP SUBSCRIPTION %1$I', s.subname)
FROM pg_subscription s
JOIN pg_database d ON d.oid = s.subdbid
WHERE d.datname = :'database'
UNION ALL
SELECT format('prepared transaction %s of %I could still be committed', quote_literal(gid), owner),
       format('in that database: COMMIT PREPARED %1$L, or ROLLBACK PREPARED %1$L', gid)
FROM pg_prepared_xacts
WHERE database = :'database'
UNION ALL
SELECT format('a background worker is at work in it, %s (process %s)', backend_type, pid),
       format('stop what starts it, then SELECT pg_terminate_backend(%s)', pid)
FROM pg_stat_activity
WHERE datname = :'database'
  AND backend_type NOT IN ('client backend', 'parallel worker', 'walsender', 'autovacuum worker')
ORDER BY 1
