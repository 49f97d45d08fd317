-- categories → product_database. Soft-deleted ones stay behind unless something migrated needs them.
WITH RECURSIVE referenced AS (
\ir ../products/referenced.sql
), needed AS (
    SELECT c.parent_id AS id FROM categories c WHERE c.deleted_at IS NULL
    UNION
    SELECT p.category_id FROM products p WHERE p.deleted_at IS NULL
    UNION
    SELECT p.category_id FROM products p JOIN referenced r ON r.product_id = p.id
    UNION                      -- UNION, not UNION ALL: a cycle of categories ends here
    SELECT c.parent_id FROM categories c JOIN needed n ON n.id = c.id
), broken AS (
\ir broken.sql
)
SELECT
    c.id,
    c.name,
    c.description,
    c.status,
    c.sort_order,
    c.parent_id,
    c.slug,
    c.image_url,
    c.created_at,
    c.updated_at,
    c.deleted_at,
    CASE
        WHEN c.deleted_at IS NOT NULL AND c.id NOT IN (SELECT n.id FROM needed n WHERE n.id IS NOT NULL)
            THEN 'excluded:category_deleted'
        ELSE coalesce((SELECT min(b.outcome) FROM broken b WHERE b.id = c.id), 'migrated')
    END AS outcome,
    NULL::text AS note
FROM categories c
