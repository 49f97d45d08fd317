-- Since when the statistics of a new database count: since they were reset, or its tables came; and whether the
-- services have taken over.
SELECT to_char(greatest(d.stats_reset, (SELECT max(r.published) FROM xtask.runs r)) AT TIME ZONE 'UTC',
               'YYYY-MM-DD HH24:MI:SS "UTC"') AS since,
       to_regclass('xtask.cutover') IS NOT NULL AS cut_over
FROM pg_stat_database d
WHERE d.datname = current_database()
