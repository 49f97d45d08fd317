-- Sessions that the service began while its role was the one of initdb: they may everything until they end.
-- Variables: admin, whose name that role has now. As that one; `ended`: whether it was told to end.
SELECT pid, pg_terminate_backend(pid) AS ended
FROM pg_stat_activity
WHERE usesysid = 10 AND usename = :'admin' AND backend_type = 'client backend' AND pid <> pg_backend_pid()
ORDER BY pid
