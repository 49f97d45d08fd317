-- The rules for products, written a second time without looking at 2-export.sql.
WITH category AS (
\ir ../categories/2-audit.sql
), reviewed AS (
    SELECT r.product_id AS id FROM product_reviews r
    WHERE r.deleted_at IS NULL AND r.user_id IN (SELECT id FROM users WHERE firebase_uid IS NOT NULL)
), ordered AS (
    SELECT product_id AS id FROM order_items
    WHERE order_id IN (SELECT o.id FROM orders o, users u WHERE u.id = o.user_id AND u.firebase_uid IS NOT NULL)
)
SELECT p.id,
       CASE WHEN p.deleted_at IS NOT NULL
             AND NOT EXISTS (SELECT FROM reviewed r WHERE r.id = p.id)
             AND NOT EXISTS (SELECT FROM ordered o WHERE o.id = p.id)
                THEN 'excluded'
            WHEN p.category_id IS NULL OR category.kind = 'migrated'
                THEN 'migrated'
            ELSE 'quarantined'
       END AS kind
FROM products p
LEFT JOIN category ON category.id = p.category_id
