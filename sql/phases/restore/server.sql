-- Which server this is, and where its files are, as far as this role may know.
SELECT (SELECT system_identifier::text FROM pg_control_system())                     AS system,
       pg_is_in_recovery()                                                           AS standby,
       current_setting('server_version_num')::int / 10000                            AS major,
       CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE')
            THEN current_setting('data_directory') END                               AS data_directory,
       extract(epoch FROM pg_postmaster_start_time())::bigint                        AS started
