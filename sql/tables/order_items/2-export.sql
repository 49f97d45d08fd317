-- order_items → order_database. They go where their order goes.
WITH o AS (
\ir ../orders/2-export.sql
)
SELECT
    i.id,
    i.order_id,
    i.product_id,
    i.product_name,
    i.quantity,
    i.unit_price,
    i.subtotal,
    i.tax_amount,
    i.discount_amount,
    i.final_price,
    i.created_at,
    i.updated_at,
    CASE
        WHEN o.id IS NULL
            THEN 'quarantined:order_missing'
        WHEN o.outcome <> 'migrated'
            THEN 'quarantined:order_quarantined'
        ELSE 'migrated'
    END AS outcome,
    NULL::text AS note
FROM order_items i
LEFT JOIN o ON o.id = i.order_id
