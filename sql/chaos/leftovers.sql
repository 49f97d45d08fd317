-- Schemas that the tool sets aside while it works. No rows = nothing is left over.
SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'xtask\_%'
