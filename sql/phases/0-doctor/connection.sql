-- How this session is protected, and what its server lets sessions do. `read_only`: new sessions of this database and
-- role begin so; this tool's own setting of it is left out.
SELECT s.ssl AS encrypted,
       coalesce(s.version || ', ' || s.cipher, '') AS protection,
       pg_is_in_recovery() AS standby,
       (SELECT reset_val FROM pg_settings WHERE name = 'default_transaction_read_only') = 'on' AS read_only
FROM pg_stat_ssl s
WHERE s.pid = pg_backend_pid()
