-- Sessions that the service began while its role was the one of initdb: they may everything until they end.
-- Variables: admin, whose name that role has now; own: this process's, which end by themselves. As the admin; `ended`:
-- whether it was told to end.
SELECT pid, pg_terminate_backend(pid) AS ended
FROM pg_stat_activity
WHERE usesysid = 10 AND usename = :'admin' AND backend_type = 'client backend' AND pid <> pg_backend_pid()
  AND format('%s %s', pid, backend_start) <> ALL (:'own'::text[])
ORDER BY pid
