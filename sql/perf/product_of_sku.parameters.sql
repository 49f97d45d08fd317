-- The newest product that is on sale.
SELECT n.sku::text AS sku
FROM (SELECT * FROM products ORDER BY id DESC LIMIT 10000) n
WHERE n.sku <> '' AND n.status = 'active' AND n.deleted_at IS NULL
ORDER BY n.id DESC
LIMIT 1
