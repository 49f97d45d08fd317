-- The rules for reviews, written a second time without looking at 2-export.sql.
WITH product AS (
\ir ../products/2-audit.sql
)
SELECT r.id,
       CASE WHEN r.deleted_at IS NOT NULL THEN 'excluded'
            WHEN u.firebase_uid::text COLLATE "C" <> '' AND p.kind = 'migrated' AND r.created_at IS NOT NULL
             AND (r.rating IN (1, 2, 3, 4, 5)) IS NOT FALSE
             AND (r.id IN (:undecodable_product_reviews)) IS NOT TRUE
             AND (r.id IN (:unfit_product_reviews)) IS NOT TRUE THEN 'migrated'
            ELSE 'quarantined'
       END AS kind
FROM product_reviews r
LEFT JOIN users u ON u.id = r.user_id
LEFT JOIN product p ON p.id = r.product_id
