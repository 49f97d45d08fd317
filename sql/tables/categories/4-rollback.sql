-- categories ← product_database: the mirror image of 2-export.sql. :rows has rows as that file tells them.
SELECT
    r.id,
    r.name,
    r.description,
    r.status,
    r.sort_order,
    r.parent_id,
    r.slug,
    r.image_url,
    r.created_at,
    r.updated_at,
    r.deleted_at
FROM :rows r
