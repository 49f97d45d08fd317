-- product_reviews ← product_database: the mirror image of 2-export.sql. :rows has rows as that file tells them.
-- user_uid has no column there: it says whether user_id has to follow.
SELECT
    r.id,
    r.product_id,
    owner.user_id,
    r.user_uid,
    r.order_id,
    r.rating,
    r.title,
    r.comment,
    r.is_verified_purchase,
    r.is_approved,
    r.created_at,
    r.updated_at,
    r.deleted_at
FROM :rows r
-- A uid that several users have names none of them.
LEFT JOIN pg_temp.owners owner ON owner.uid = r.user_uid::text COLLATE "C" AND owner.bearers = 1
