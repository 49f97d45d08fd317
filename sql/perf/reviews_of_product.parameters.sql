-- The product with the most approved reviews, of the newest 10,000.
SELECT n.product_id::text AS product_id
FROM (SELECT * FROM product_reviews ORDER BY id DESC LIMIT 10000) n
WHERE n.is_approved AND n.deleted_at IS NULL
GROUP BY n.product_id
ORDER BY count(*) DESC, n.product_id
LIMIT 1
