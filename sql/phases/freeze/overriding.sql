-- Roles whose own setting overrides what the database says: a freeze would not hold them back.
SELECT r.rolname::text AS role
FROM pg_db_role_setting s
JOIN pg_roles r ON r.oid = s.setrole
CROSS JOIN unnest(s.setconfig) c (setting)
WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
  AND r.rolcanlogin
  AND split_part(c.setting, '=', 1) = 'default_transaction_read_only'
  AND NOT split_part(c.setting, '=', 2)::boolean
GROUP BY 1
ORDER BY 1
