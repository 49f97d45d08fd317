-- Reviews whose rating breaks the target's CHECK.
SELECT format('product_reviews %s: %s', id, rating) AS key
FROM product_reviews
WHERE rating NOT BETWEEN 1 AND 5 AND deleted_at IS NULL
