-- Which database this is, whatever its address: its cluster, the cluster's timeline, the database's own number
-- (a copy that was renamed into place has another one).
SELECT d.datname::text AS name, d.oid::bigint AS oid,
       (SELECT system_identifier::text FROM pg_control_system()) AS system,
       CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END AS timeline
FROM pg_database d
WHERE d.datname = current_database()
