-- Triggers that are switched off in this database, those of foreign keys, too.
SELECT format('%s on %s.%s', t.tgname, n.nspname, c.relname) AS trigger
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE t.tgenabled = 'D'
ORDER BY 1
