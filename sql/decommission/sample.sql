-- Who has been in a database so far, by its statistics, asked from another database of the server. No row: it is gone.
-- `sessions` counts every session that was ever established there, since `reset`: one that comes and goes between two
-- looks is seen. Workers of autovacuum are none. psql: \set oid 16384
SELECT d.datname::text                                                                            AS name,
       (SELECT system_identifier::text FROM pg_control_system())                                  AS system,
       to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')             AS at,
       s.sessions                                                                                 AS sessions,
       s.xact_commit                                                                              AS commits,
       s.stats_reset::text                                                                        AS reset
FROM pg_database d
JOIN pg_stat_database s ON s.datid = d.oid
WHERE d.oid = :oid
