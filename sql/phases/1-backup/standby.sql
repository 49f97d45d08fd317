-- Whether the source is a standby, until when what its primary committed is there, and the tables whose rows are
-- on the primary alone. One row. `replayed` is NULL where nothing has come since it was started.
SELECT pg_is_in_recovery()                   AS is_standby,
       to_char(pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US "UTC"') AS replayed,
       (SELECT string_agg(format('%I.%I', n.nspname, c.relname), ', ' ORDER BY n.nspname, c.relname)
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND c.relpersistence = 'u') AS unlogged
