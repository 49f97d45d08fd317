-- Any review and any order item decides whether a soft-deleted product is carried: they are few, and read again
-- each time.
SELECT p.id::bigint AS id FROM products p WHERE p.deleted_at IS NOT NULL
