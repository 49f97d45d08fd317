-- The cut-over that is recorded in this database.
SELECT run, state, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS at FROM xtask.cutover
