-- The rules for categories, written a second time without looking at 2-export.sql: from every
-- category and product that goes, walk up: what is met goes too, and a walk that falls off the end
-- breaks everything below.
WITH RECURSIVE ends AS (            -- (category, one of its ancestors or itself)
    SELECT id AS category, id AS ancestor FROM categories
    UNION
    SELECT e.category, c.parent_id FROM ends e JOIN categories c ON c.id = e.ancestor WHERE c.parent_id IS NOT NULL
), unasked AS (                     -- deleted products that nothing which goes refers to
    SELECT p.id FROM products p
    WHERE p.deleted_at IS NOT NULL
      AND NOT EXISTS (SELECT FROM order_items i, orders o, users u
                      WHERE i.product_id = p.id AND o.id = i.order_id
                        AND u.id = o.user_id AND u.firebase_uid::text COLLATE "C" <> '')
      AND NOT EXISTS (SELECT FROM product_reviews r, users u
                      WHERE r.product_id = p.id AND r.deleted_at IS NULL
                        AND u.id = r.user_id AND u.firebase_uid::text COLLATE "C" <> '')
), bad AS (                         -- not for their parents, but for what is in them
    SELECT id FROM categories
    WHERE num_nulls(name, created_at) > 0
       OR id IN (:undecodable_categories) OR id IN (:unfit_categories)
), going AS (
    SELECT id FROM categories WHERE deleted_at IS NULL
    UNION
    SELECT category_id FROM products
    WHERE category_id IS NOT NULL AND id NOT IN (SELECT id FROM unasked)
)
SELECT c.id,
       CASE WHEN c.id NOT IN (SELECT e.ancestor FROM ends e JOIN going g ON g.id = e.category)
                THEN 'excluded'
            WHEN c.id IN (SELECT e.category FROM ends e
                          WHERE e.ancestor NOT IN (SELECT id FROM categories)
                             OR e.ancestor IN (SELECT id FROM bad))
                THEN 'quarantined'
            ELSE 'migrated'
       END AS kind
FROM categories c
