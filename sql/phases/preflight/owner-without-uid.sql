-- Orders and reviews whose user has no firebase_uid: the target needs one.
SELECT format('orders %s: user_id %s', o.id, o.user_id) AS key
FROM orders o JOIN users u ON u.id = o.user_id WHERE u.firebase_uid IS NULL
UNION ALL
SELECT format('product_reviews %s: user_id %s', r.id, r.user_id)
FROM product_reviews r JOIN users u ON u.id = r.user_id WHERE u.firebase_uid IS NULL AND r.deleted_at IS NULL
