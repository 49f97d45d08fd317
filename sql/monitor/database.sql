-- What this database's statistics have counted since `since` (seconds since 1970; NULL: since they began), its size, and
-- how many transaction ids the server's oldest database has used of those that it may. One row.
SELECT s.blks_hit                                           AS hits,
       s.blks_read                                          AS reads,
       s.deadlocks                                          AS deadlocks,
       extract(epoch FROM s.stats_reset)::float8            AS since,
       pg_database_size(d.oid)                              AS bytes,
       (SELECT max(age(o.datfrozenxid)) FROM pg_database o)::float8 / 2147483647 AS used_ids
FROM pg_stat_database s
JOIN pg_database d ON d.oid = s.datid
WHERE d.datname = current_database()
