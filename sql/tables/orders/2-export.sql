-- orders → order_database. user_id becomes the user's firebase_uid, deleted users' too.
SELECT
    o.id,
    u.firebase_uid AS user_uid,
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
        WHEN u.firebase_uid IS NULL
            THEN 'quarantined:user_without_uid'
        ELSE 'migrated'
    END AS outcome,
    NULL::text AS note
FROM orders o
LEFT JOIN users u ON u.id = o.user_id
