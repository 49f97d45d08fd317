-- The category with the most active products, of the newest 10,000.
SELECT n.category_id::text AS category_id
FROM (SELECT * FROM products ORDER BY id DESC LIMIT 10000) n
WHERE n.status = 'active' AND n.category_id IS NOT NULL AND n.deleted_at IS NULL
GROUP BY n.category_id
ORDER BY count(*) DESC, n.category_id
LIMIT 1
