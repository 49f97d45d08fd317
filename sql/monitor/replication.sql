-- How far replication is behind, in seconds: on a primary its slowest standby, on a standby what it replays. NULL: nobody
-- replicates. `held`: bytes of WAL that are kept for a slot that nobody reads. One row.
SELECT pg_is_in_recovery() AS standby,
       CASE
           WHEN NOT pg_is_in_recovery() THEN
               (SELECT coalesce(extract(epoch FROM max(r.replay_lag)), 0) FROM pg_stat_replication r HAVING count(*) > 0)
           -- What it has received it has replayed: a primary that writes nothing is not ahead.
           WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
           ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())
       END::float8 AS lag,
       CASE WHEN NOT pg_is_in_recovery() THEN
           (SELECT max(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)) FROM pg_replication_slots s WHERE NOT s.active)
       END::bigint AS held
