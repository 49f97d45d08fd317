-- Rows whose parent is not there although a foreign key inside the database says so. No rows = pass.
-- psql: \set table order_items, column order_id, parent orders, parent_column id
SELECT c.id::text AS id, c.:"column"::text AS refers_to
FROM public.:"table" c
LEFT JOIN public.:"parent" p ON p.:"parent_column" = c.:"column"
WHERE c.:"column" IS NOT NULL AND p.:"parent_column" IS NULL
ORDER BY c.id
