-- payments → order_database. They go where their order goes.
WITH o AS (
\ir ../orders/2-export.sql
)
SELECT
    p.id,
    p.order_id,
    p.amount,
    p.status,
    p.payment_method,
    p.currency,
    p.transaction_id,
    p.gateway,
    p.gateway_response,
    p.created_at,
    p.updated_at,
    CASE
        WHEN o.id IS NULL
            THEN 'quarantined:order_missing'
        WHEN o.outcome <> 'migrated'
            THEN 'quarantined:order_quarantined'
        WHEN p.id IN (:undecodable_payments)
            THEN 'quarantined:text_undecodable'
        WHEN p.amount IS NULL OR p.created_at IS NULL
            THEN 'quarantined:value_missing'
        WHEN p.id IN (:unfit_payments)
            THEN 'quarantined:value_does_not_fit'
        ELSE 'migrated'
    END AS outcome,
    NULL::text AS note
FROM payments p
LEFT JOIN o ON o.id = p.order_id
