-- The rules for payments, written a second time without looking at 2-export.sql.
SELECT id,
       CASE WHEN order_id IN (SELECT o.id FROM (
\ir ../orders/2-audit.sql
) o WHERE o.kind = 'migrated')
             AND num_nulls(amount, created_at) = 0
             AND (id IN (:undecodable_payments)) IS NOT TRUE AND (id IN (:unfit_payments)) IS NOT TRUE
            THEN 'migrated' ELSE 'quarantined' END AS kind
FROM payments
