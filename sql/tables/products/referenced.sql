-- Soft-deleted products that a migrated review or a migrated order item refers to: they are carried.
SELECT r.product_id
FROM products p
JOIN product_reviews r ON r.product_id = p.id
JOIN users u ON u.id = r.user_id
WHERE p.deleted_at IS NOT NULL AND r.deleted_at IS NULL AND u.firebase_uid IS NOT NULL
UNION                       -- each product once
SELECT i.product_id
FROM products p
JOIN order_items i ON i.product_id = p.id
JOIN orders o ON o.id = i.order_id
JOIN users u ON u.id = o.user_id
WHERE p.deleted_at IS NOT NULL AND u.firebase_uid IS NOT NULL
