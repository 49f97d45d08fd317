-- product-service: the categories below one, as the shop's menu shows them
SELECT id, name, slug, sort_order FROM categories
WHERE parent_id = :'parent_id' AND deleted_at IS NULL
ORDER BY sort_order, id
