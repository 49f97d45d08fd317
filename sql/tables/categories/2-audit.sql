-- The rules for categories, written a second time without looking at 2-export.sql: from every
-- category and product that goes, walk up; what is met goes too; a walk that falls off the end breaks
-- everything below.
WITH RECURSIVE ends AS (            -- (category, one of its ancestors or itself)
    SELECT id AS category, id AS ancestor FROM categories
    UNION
    SELECT e.category, c.parent_id FROM ends e JOIN categories c ON c.id = e.ancestor WHERE c.parent_id IS NOT NULL
), going AS (
    SELECT id FROM categories WHERE deleted_at IS NULL
    UNION
    SELECT category_id FROM products p
    WHERE p.category_id IS NOT NULL
      AND (p.deleted_at IS NULL
           OR EXISTS (SELECT FROM order_items i, orders o, users u
                      WHERE i.product_id = p.id AND o.id = i.order_id
                        AND u.id = o.user_id AND u.firebase_uid IS NOT NULL)
           OR EXISTS (SELECT FROM product_reviews r, users u
                      WHERE r.product_id = p.id AND r.deleted_at IS NULL
                        AND u.id = r.user_id AND u.firebase_uid IS NOT NULL))
)
SELECT c.id,
       CASE WHEN NOT EXISTS (SELECT FROM ends e JOIN going g ON g.id = e.category WHERE e.ancestor = c.id)
                THEN 'excluded'
            WHEN EXISTS (SELECT FROM ends e WHERE e.category = c.id
                           AND e.ancestor NOT IN (SELECT id FROM categories))
                THEN 'quarantined'
            ELSE 'migrated'
       END AS kind
FROM categories c
