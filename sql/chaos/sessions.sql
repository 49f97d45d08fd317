-- Sessions of runs on this server. No rows = nothing is left over.
SELECT application_name AS name FROM pg_stat_activity
WHERE application_name ~ '^xtask [0-9]{8}_[0-9]{6} ' AND pid <> pg_backend_pid()
