-- The rules for reviews, written a second time without looking at 2-export.sql.
WITH product AS (
\ir ../products/2-audit.sql
)
SELECT r.id,
       CASE WHEN r.deleted_at IS NOT NULL THEN 'excluded'
            WHEN u.firebase_uid IS NOT NULL AND p.kind = 'migrated' THEN 'migrated'
            ELSE 'quarantined'
       END AS kind
FROM product_reviews r
LEFT JOIN users u ON u.id = r.user_id
LEFT JOIN product p ON p.id = r.product_id
