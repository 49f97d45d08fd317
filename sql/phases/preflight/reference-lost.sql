-- References to rows that are not there, or to users without a firebase_uid, in a column that may be NULL
-- in the target.
SELECT format('system_logs %s: user_id %s', l.id, l.user_id) AS key
FROM system_logs l LEFT JOIN users u ON u.id = l.user_id WHERE l.user_id IS NOT NULL AND coalesce(u.firebase_uid::text, '') = ''
UNION ALL
SELECT format('analytics_events %s: user_id %s', e.id, e.user_id)
FROM analytics_events e LEFT JOIN users u ON u.id = e.user_id WHERE e.user_id IS NOT NULL AND coalesce(u.firebase_uid::text, '') = ''
UNION ALL
SELECT format('order_items %s: product_id %s', i.id, i.product_id)
FROM order_items i LEFT JOIN products p ON p.id = i.product_id WHERE i.product_id IS NOT NULL AND p.id IS NULL
UNION ALL
SELECT format('product_reviews %s: order_id %s', r.id, r.order_id)
FROM product_reviews r LEFT JOIN orders o ON o.id = r.order_id
WHERE r.order_id IS NOT NULL AND o.id IS NULL AND r.deleted_at IS NULL
