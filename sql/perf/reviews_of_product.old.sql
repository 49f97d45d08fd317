-- product-service: the newest reviews of a product
SELECT id, user_id, rating, title, comment, created_at FROM product_reviews
WHERE product_id = :'product_id' AND is_approved AND deleted_at IS NULL
ORDER BY created_at DESC, id DESC
LIMIT 20
