-- The rules for orders, written a second time without looking at 2-export.sql.
SELECT id,
       CASE WHEN user_id IN (SELECT id FROM users WHERE firebase_uid IS NOT NULL)
            THEN 'migrated' ELSE 'quarantined' END AS kind
FROM orders
