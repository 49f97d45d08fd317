-- One of the tool's backends on this server, any: to be killed with SIGKILL, after which the server
-- restarts.
SELECT pid FROM pg_stat_activity
WHERE application_name LIKE 'xtask %' AND application_name <> 'xtask chaos' AND pid <> pg_backend_pid()
ORDER BY random() LIMIT 1
