-- The runs that were here and have been taken back.
SELECT run, scope, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS at FROM xtask.taken_back
