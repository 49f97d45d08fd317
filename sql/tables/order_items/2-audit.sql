-- The rules for order items, written a second time without looking at 2-export.sql.
SELECT id,
       CASE WHEN order_id IN (SELECT o.id FROM (
\ir ../orders/2-audit.sql
) o WHERE o.kind = 'migrated')
             AND num_nulls(quantity, unit_price, created_at) = 0
             AND (id IN (:undecodable_order_items)) IS NOT TRUE AND (id IN (:unfit_order_items)) IS NOT TRUE
            THEN 'migrated' ELSE 'quarantined' END AS kind
FROM order_items
