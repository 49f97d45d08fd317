-- What has been taken back of a run. psql: \set run 20260131_235959
SELECT scope, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS at, summary::text AS summary
FROM xtask.rollbacks
WHERE run = :'run'
ORDER BY at, scope
