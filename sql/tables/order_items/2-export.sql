-- order_items → order_database. They go where their order goes.
WITH o AS (
\ir ../orders/2-export.sql
)
SELECT
    i.id,
    i.order_id,
    -- Of a product that never was: NULL, lest a new product take the id and inherit the item.
    product.id AS product_id,
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
        WHEN i.id IN (:undecodable_order_items)
            THEN 'quarantined:text_undecodable'
        WHEN i.quantity IS NULL OR i.unit_price IS NULL OR i.created_at IS NULL
            THEN 'quarantined:value_missing'
        WHEN i.id IN (:unfit_order_items)
            THEN 'quarantined:value_does_not_fit'
        ELSE 'migrated'
    END AS outcome,
    CASE WHEN i.product_id IS NOT NULL AND product.id IS NULL
             THEN format('product_id %s: no such product', i.product_id)
    END AS note
FROM order_items i
LEFT JOIN o ON o.id = i.order_id
LEFT JOIN products product ON product.id = i.product_id
