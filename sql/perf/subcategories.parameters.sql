-- The category with the most below it, of the newest 10,000.
SELECT n.parent_id::text AS parent_id
FROM (SELECT * FROM categories ORDER BY id DESC LIMIT 10000) n
WHERE n.parent_id IS NOT NULL AND n.deleted_at IS NULL
GROUP BY n.parent_id
ORDER BY count(*) DESC, n.parent_id
LIMIT 1
