-- products ← product_database: the mirror image of 2-export.sql. :rows has rows as that file tells them.
SELECT
    r.id,
    r.name,
    r.description,
    r.price,
    r.stock,
    r.category_id,
    r.sku,
    r.image_url,
    r.status,
    r.tags,
    r.slug,
    r.is_featured,
    r.cost_price,
    r.margin_percentage,
    r.created_at,
    r.updated_at,
    r.deleted_at
FROM :rows r
