-- products → product_database. Soft-deleted ones stay behind unless a review or an order item needs them.
WITH r AS (
\ir referenced.sql
), broken AS (
\ir ../categories/broken.sql
)
SELECT
    p.id,
    p.name,
    p.description,
    p.price,
    p.stock,
    p.category_id,
    p.sku,
    p.image_url,
    p.status,
    p.tags,
    p.slug,
    p.is_featured,
    p.cost_price,
    p.margin_percentage,
    p.created_at,
    p.updated_at,
    p.deleted_at,
    CASE
        WHEN p.deleted_at IS NOT NULL AND r.product_id IS NULL
            THEN 'excluded:product_deleted'
        WHEN p.category_id IS NOT NULL AND c.id IS NULL
            THEN 'quarantined:category_missing'
        WHEN p.category_id IN (SELECT b.id FROM broken b)
            THEN 'quarantined:category_quarantined'
        WHEN p.id IN (:undecodable_products)
            THEN 'quarantined:text_undecodable'
        WHEN p.name IS NULL OR p.price IS NULL OR p.created_at IS NULL
            THEN 'quarantined:value_missing'
        WHEN p.id IN (:unfit_products)
            THEN 'quarantined:value_does_not_fit'
        ELSE 'migrated'
    END AS outcome,
    NULL::text AS note
FROM products p
LEFT JOIN categories c ON c.id = p.category_id
LEFT JOIN r ON r.product_id = p.id
