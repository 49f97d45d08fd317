-- payments ← order_database: the mirror image of 2-export.sql. :rows has rows as that file tells them.
SELECT
    r.id,
    r.order_id,
    r.amount,
    r.status,
    r.payment_method,
    r.currency,
    r.transaction_id,
    r.gateway,
    r.gateway_response,
    r.created_at,
    r.updated_at
FROM :rows r
