-- Categories that are their own ancestor.
WITH RECURSIVE up AS (
    SELECT id, parent_id AS ancestor FROM categories WHERE parent_id IS NOT NULL
    UNION                       -- not UNION ALL: a cycle ends here
    SELECT u.id, c.parent_id FROM up u JOIN categories c ON c.id = u.ancestor WHERE c.parent_id IS NOT NULL
)
SELECT format('categories %s', id) AS key FROM up WHERE ancestor = id
