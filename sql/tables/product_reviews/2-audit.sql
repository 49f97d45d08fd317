-- The rules for reviews, written a second time without looking at 2-export.sql.
WITH product AS (
\ir ../products/2-audit.sql
)
SELECT id,
       CASE WHEN deleted_at IS NOT NULL THEN 'excluded'
            WHEN user_id    IN (SELECT id FROM users WHERE firebase_uid IS NOT NULL)
             AND product_id IN (SELECT id FROM product WHERE kind = 'migrated') THEN 'migrated'
            ELSE 'quarantined'
       END AS kind
FROM product_reviews
