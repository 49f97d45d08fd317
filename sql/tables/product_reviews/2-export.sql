-- product_reviews → product_database. user_id becomes the user's firebase_uid, deleted users' too.
WITH p AS (
\ir ../products/2-export.sql
)
SELECT
    r.id,
    r.product_id,
    u.uid AS user_uid,
    -- Of an order that never was: NULL, lest a new order take the id and inherit the review.
    ordered.id AS order_id,
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
        WHEN u.uid IS NULL
            THEN 'quarantined:user_without_uid'
        WHEN p.id IS NULL
            THEN 'quarantined:product_missing'
        WHEN p.outcome <> 'migrated'
            THEN 'quarantined:product_quarantined'
        WHEN r.id IN (:undecodable_product_reviews)
            THEN 'quarantined:text_undecodable'
        WHEN r.created_at IS NULL
            THEN 'quarantined:value_missing'
        WHEN r.rating NOT BETWEEN 1 AND 5
            THEN 'quarantined:rating_out_of_range'
        WHEN r.id IN (:unfit_product_reviews)
            THEN 'quarantined:value_does_not_fit'
        ELSE 'migrated'
    END AS outcome,
    -- Rule 8: nobody else will know any more whose it is.
    nullif(concat_ws(', ',
        CASE WHEN shared.uid IS NOT NULL
                 THEN format('user_id %s, whose firebase_uid is that of %s users, ids %s to %s',
                             u.id, shared.bearers, shared.first, shared.last) END,
        CASE WHEN r.order_id IS NOT NULL AND ordered.id IS NULL
                 THEN format('order_id %s: no such order', r.order_id) END), '') AS note
FROM product_reviews r
LEFT JOIN (
\ir ../users/known.sql
) u ON u.id = r.user_id
LEFT JOIN p ON p.id = r.product_id
LEFT JOIN orders ordered ON ordered.id = r.order_id
LEFT JOIN (
    SELECT firebase_uid::text COLLATE "C" AS uid, count(*) AS bearers, min(id) AS first, max(id) AS last
    FROM users GROUP BY 1 HAVING count(*) > 1
) shared ON shared.uid = u.uid::text COLLATE "C"
