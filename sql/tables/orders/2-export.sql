-- orders → order_database. user_id becomes the user's firebase_uid, deleted users' too.
SELECT
    o.id,
    u.uid AS user_uid,
    o.total_amount,
    o.status,
    o.subtotal,
    o.tax_amount,
    o.shipping_amount,
    o.discount_amount,
    o.payment_status,
    o.payment_method,
    o.shipping_method,
    o.tracking_number,
    o.created_at,
    o.updated_at,
    CASE
        WHEN u.id IS NULL
            THEN 'quarantined:user_missing'
        WHEN u.uid IS NULL
            THEN 'quarantined:user_without_uid'
        WHEN o.id IN (:undecodable_orders)
            THEN 'quarantined:text_undecodable'
        WHEN o.total_amount IS NULL OR o.created_at IS NULL
            THEN 'quarantined:value_missing'
        WHEN o.id IN (:unfit_orders)
            THEN 'quarantined:value_does_not_fit'
        ELSE 'migrated'
    END AS outcome,
    -- Rule 8: nobody else will know any more whose it is.
    CASE WHEN shared.uid IS NOT NULL
             THEN format('user_id %s, whose firebase_uid is that of %s users, ids %s to %s',
                         u.id, shared.bearers, shared.first, shared.last)
    END AS note
FROM orders o
LEFT JOIN (
\ir ../users/known.sql
) u ON u.id = o.user_id
LEFT JOIN (
    SELECT firebase_uid::text COLLATE "C" AS uid, count(*) AS bearers, min(id) AS first, max(id) AS last
    FROM users GROUP BY 1 HAVING count(*) > 1
) shared ON shared.uid = u.uid::text COLLATE "C"
