-- Ends the sessions of every tool on this server, also of those that belong to no run; not those of the campaign
-- and of the services.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name ~ '^xtask ' AND application_name !~ '^xtask (chaos|services)$' AND pid <> pg_backend_pid()
