-- The rule for logs: every one goes.
SELECT id, 'migrated' AS kind FROM system_logs
