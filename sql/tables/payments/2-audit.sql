-- The rules for payments, written a second time without looking at 2-export.sql.
SELECT id,
       CASE WHEN order_id IN (SELECT o.id FROM orders o, users u
                              WHERE u.id = o.user_id AND u.firebase_uid IS NOT NULL)
            THEN 'migrated' ELSE 'quarantined' END AS kind
FROM payments
