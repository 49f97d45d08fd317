-- orders ← order_database: the mirror image of 2-export.sql. :rows has rows as that file tells them.
-- user_uid has no column there: it says whether user_id has to follow.
SELECT
    r.id,
    owner.user_id,
    r.user_uid,
    r.total_amount,
    r.status,
    r.subtotal,
    r.tax_amount,
    r.shipping_amount,
    r.discount_amount,
    r.payment_status,
    r.payment_method,
    r.shipping_method,
    r.tracking_number,
    r.created_at,
    r.updated_at
FROM :rows r
-- A uid that several users have names none of them.
LEFT JOIN pg_temp.owners owner ON owner.uid = r.user_uid::text COLLATE "C" AND owner.bearers = 1
