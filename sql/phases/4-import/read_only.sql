-- What makes new sessions of this role, or all of this database, read-only: as the statements that undo it. No rows =
-- they can write. This session has set it aside for itself.
WITH set_so AS (
    SELECT s.setdatabase, s.setrole
    FROM pg_db_role_setting s
    CROSS JOIN LATERAL unnest(s.setconfig) c (setting)
    WHERE c.setting LIKE 'default_transaction_read_only=%' AND split_part(c.setting, '=', 2)::boolean
      AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
      AND s.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = session_user))
)
SELECT 'ALTER ' || CASE WHEN setrole = 0 AND setdatabase = 0 THEN 'ROLE ALL'
                        WHEN setrole = 0 THEN format('DATABASE %I', current_database())
                        WHEN setdatabase = 0 THEN format('ROLE %I', session_user)
                        ELSE format('ROLE %I IN DATABASE %I', session_user, current_database()) END
                || ' RESET default_transaction_read_only' AS statement
FROM set_so
UNION ALL
SELECT 'ALTER SYSTEM SET default_transaction_read_only = off; SELECT pg_reload_conf()'
FROM pg_settings
WHERE name = 'default_transaction_read_only' AND reset_val = 'on' AND NOT EXISTS (SELECT FROM set_so)
ORDER BY 1
