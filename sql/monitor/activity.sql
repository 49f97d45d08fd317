-- The sessions of this server now: how many there may be, are, and wait for a lock; since when the oldest transaction is
-- open, and the oldest that does nothing, in seconds since 1970, each with whose it is. One row.
-- `hidden`: sessions of which this role is not shown what they do (pg_monitor is).
WITH sessions AS (
    SELECT a.*, format('process %s of %s', a.pid, a.usename)
                || coalesce(' (' || nullif(a.application_name, '') || ')', '') AS who
    FROM pg_stat_activity a
    WHERE a.datid IS NOT NULL AND coalesce(a.backend_type, 'client backend') = 'client backend'
),
transactions AS (
    SELECT s.who, s.xact_start
    FROM sessions s
    WHERE s.pid <> pg_backend_pid() AND s.xact_start IS NOT NULL
    ORDER BY s.xact_start
    LIMIT 1
),
idle AS (
    SELECT s.who, s.state_change
    FROM sessions s
    WHERE s.state IN ('idle in transaction', 'idle in transaction (aborted)')
    ORDER BY s.state_change
    LIMIT 1
)
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true)::int, 0)        AS allowed,
       (SELECT count(*) FROM sessions)                                              AS sessions,
       (SELECT count(*) FROM sessions WHERE wait_event_type = 'Lock')               AS waiting,
       (SELECT extract(epoch FROM xact_start)::float8 FROM transactions)            AS oldest,
       (SELECT who FROM transactions)                                               AS oldest_of,
       (SELECT extract(epoch FROM state_change)::float8 FROM idle)                  AS idle_since,
       (SELECT who FROM idle)                                                       AS idle_of,
       (SELECT count(*) FROM sessions WHERE query = '<insufficient privilege>')     AS hidden,
       extract(epoch FROM clock_timestamp())::float8                                AS clock
