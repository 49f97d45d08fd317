-- product_reviews → product_database. user_id becomes the user's firebase_uid, deleted users' too.
WITH p AS (
\ir ../products/2-export.sql
)
SELECT
    r.id,
    r.product_id,
    u.firebase_uid AS user_uid,
    r.order_id,
    r.rating,
    r.title,
    r.comment,
    r.is_verified_purchase,
    r.is_approved,
    r.created_at,
    r.updated_at,
    r.deleted_at,
    CASE
        WHEN r.deleted_at IS NOT NULL
            THEN 'excluded:review_deleted'
        WHEN u.id IS NULL
            THEN 'quarantined:user_missing'
        WHEN u.firebase_uid IS NULL
            THEN 'quarantined:user_without_uid'
        WHEN p.id IS NULL
            THEN 'quarantined:product_missing'
        WHEN p.outcome <> 'migrated'
            THEN 'quarantined:product_quarantined'
        ELSE 'migrated'
    END AS outcome,
    NULL::text AS note
FROM product_reviews r
LEFT JOIN users u ON u.id = r.user_id
LEFT JOIN p ON p.id = r.product_id
