-- order_items ← order_database: the mirror image of 2-export.sql. :rows has rows as that file tells them.
SELECT
    r.id,
    r.order_id,
    r.product_id,
    r.product_name,
    r.quantity,
    r.unit_price,
    r.subtotal,
    r.tax_amount,
    r.discount_amount,
    r.final_price,
    r.created_at,
    r.updated_at
FROM :rows r
