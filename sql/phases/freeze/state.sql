-- What a freeze changes, as it is now. One row.
SELECT (SELECT split_part(c.setting, '=', 2)
        FROM pg_db_role_setting s, unnest(s.setconfig) c (setting)
        WHERE s.setdatabase = d.oid AND s.setrole = 0
          AND split_part(c.setting, '=', 1) = 'default_transaction_read_only') AS setting,
       current_user::text                           AS me,
       clock_timestamp()::text                      AS now
FROM pg_database d
WHERE d.datname = current_database()
