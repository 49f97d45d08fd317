-- The rules for orders, written a second time without looking at 2-export.sql.
SELECT id,
       CASE WHEN user_id IN (SELECT id FROM users WHERE firebase_uid::text COLLATE "C" <> '')
             AND num_nulls(total_amount, created_at) = 0
             AND (id IN (:undecodable_orders)) IS NOT TRUE AND (id IN (:unfit_orders)) IS NOT TRUE
            THEN 'migrated' ELSE 'quarantined' END AS kind
FROM orders
