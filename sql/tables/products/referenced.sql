-- Soft-deleted products that a migrated review or a migrated order item refers to: they are carried.
-- So are those whose row is quarantined for a value of its own: fixed, it must find its product.
-- Deleted products are few: each is asked for, instead of asking every order item for its product.
SELECT p.id AS product_id
FROM products p
WHERE p.deleted_at IS NOT NULL
  AND EXISTS (SELECT FROM product_reviews r JOIN users u ON u.id = r.user_id
              WHERE r.product_id = p.id AND r.deleted_at IS NULL AND u.firebase_uid::text COLLATE "C" <> '')
UNION                       -- each product once
SELECT p.id
FROM products p
WHERE p.deleted_at IS NOT NULL
  AND EXISTS (SELECT FROM order_items i JOIN orders o ON o.id = i.order_id JOIN users u ON u.id = o.user_id
              WHERE i.product_id = p.id AND u.firebase_uid::text COLLATE "C" <> '')
