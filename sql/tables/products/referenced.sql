-- Products that a migrated review or a migrated order item refers to: carried although deleted.
SELECT r.product_id
FROM product_reviews r
JOIN users u ON u.id = r.user_id
WHERE r.product_id IS NOT NULL AND r.deleted_at IS NULL AND u.firebase_uid IS NOT NULL
UNION                       -- each product once
SELECT i.product_id
FROM order_items i
JOIN orders o ON o.id = i.order_id
JOIN users u ON u.id = o.user_id
WHERE i.product_id IS NOT NULL AND u.firebase_uid IS NOT NULL
