-- Ends the sessions of all runs on this server, as an administrator or a restarting proxy would.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name ~ '^xtask [0-9]{8}_[0-9]{6} ' AND pid <> pg_backend_pid()
