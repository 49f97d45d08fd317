-- On which history the versions of this database's rows stand. Versions of two histories are not to be
-- compared: a clone, a restored server, a promoted standby, a copy renamed into place.
-- `moved_by`: extensions that move rows with their versions. `started`: a server that was not running lost
-- nothing it had flushed, but may have been put back to an earlier state.
SELECT (SELECT system_identifier::text FROM pg_control_system())                      AS system,
       CASE WHEN NOT pg_is_in_recovery()
            THEN left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END            AS timeline,
       (SELECT oid::bigint FROM pg_database WHERE datname = current_database())       AS database,
       current_user::text                                                             AS role,
       pg_postmaster_start_time()::text                                               AS started,
       (SELECT string_agg(extname, ', ' ORDER BY extname) FROM pg_extension
        WHERE extname IN ('citus', 'pg_surgery', 'timescaledb'))                      AS moved_by
