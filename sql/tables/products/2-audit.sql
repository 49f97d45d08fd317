-- The rules for products, written a second time without looking at 2-export.sql.
WITH category AS (
\ir ../categories/2-audit.sql
), gone AS (                        -- deleted, and nothing that goes refers to it
    SELECT p.id FROM products p
    WHERE p.deleted_at IS NOT NULL
      AND NOT EXISTS (SELECT FROM order_items i, orders o, users u
                      WHERE i.product_id = p.id AND o.id = i.order_id
                        AND u.id = o.user_id AND u.firebase_uid::text COLLATE "C" <> '')
      AND NOT EXISTS (SELECT FROM product_reviews r, users u
                      WHERE r.product_id = p.id AND r.deleted_at IS NULL
                        AND u.id = r.user_id AND u.firebase_uid::text COLLATE "C" <> '')
)
SELECT p.id,
       CASE WHEN p.id IN (SELECT id FROM gone)
                THEN 'excluded'
            WHEN num_nulls(p.name, p.price, p.created_at) > 0
              OR p.id IN (:undecodable_products) OR p.id IN (:unfit_products)
                THEN 'quarantined'
            WHEN p.category_id IS NULL OR category.kind = 'migrated'
                THEN 'migrated'
            ELSE 'quarantined'
       END AS kind
FROM products p
LEFT JOIN category ON category.id = p.category_id
