-- How busy the source is without us: sessions that run a statement now, on the whole server, and how far
-- its slowest standby is behind, in seconds. `sees`: whether this role is shown what others do. One row.
SELECT (SELECT count(*)
        FROM pg_stat_activity
        WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_backend_pid()
          AND coalesce(application_name, '') NOT LIKE 'xtask %')                                  AS active,
       coalesce((SELECT extract(epoch FROM max(replay_lag))
                 FROM pg_stat_replication), 0)::float8                              AS lag,
       pg_has_role('pg_read_all_stats', 'USAGE')                                    AS sees,
       current_user::text                                                           AS me
