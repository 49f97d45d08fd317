-- Ends the tool's sessions on this server, as an administrator or a restarting proxy would.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name LIKE 'xtask %' AND application_name <> 'xtask chaos' AND pid <> pg_backend_pid()
