-- One session of a run on this server, any: its backend is to be killed with SIGKILL, after which the
-- server restarts.
SELECT pid FROM pg_stat_activity
WHERE application_name ~ '^xtask [0-9]{8}_[0-9]{6} ' AND pid <> pg_backend_pid()
ORDER BY random() LIMIT 1
