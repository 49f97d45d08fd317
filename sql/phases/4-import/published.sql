-- The runs that brought something into this database, the newest first, and what each wrote.
SELECT run, tables::text FROM xtask.runs ORDER BY published DESC, run DESC
