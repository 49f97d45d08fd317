-- References to rows that are not there, in a column that the target needs: the row cannot go.
SELECT format('orders %s: user_id %s', o.id, coalesce(o.user_id::text, 'NULL')) AS key
FROM orders o LEFT JOIN users u ON u.id = o.user_id WHERE u.id IS NULL
UNION ALL
SELECT format('product_reviews %s: user_id %s', r.id, coalesce(r.user_id::text, 'NULL'))
FROM product_reviews r LEFT JOIN users u ON u.id = r.user_id WHERE u.id IS NULL AND r.deleted_at IS NULL
UNION ALL
SELECT format('product_reviews %s: product_id %s', r.id, coalesce(r.product_id::text, 'NULL'))
FROM product_reviews r LEFT JOIN products p ON p.id = r.product_id WHERE p.id IS NULL AND r.deleted_at IS NULL
UNION ALL
SELECT format('user_sessions %s: user_id %s', s.id, coalesce(s.user_id::text, 'NULL'))
FROM user_sessions s LEFT JOIN users u ON u.id = s.user_id WHERE u.id IS NULL
UNION ALL
SELECT format('order_items %s: order_id %s', i.id, coalesce(i.order_id::text, 'NULL'))
FROM order_items i LEFT JOIN orders o ON o.id = i.order_id WHERE o.id IS NULL
UNION ALL
SELECT format('payments %s: order_id %s', p.id, coalesce(p.order_id::text, 'NULL'))
FROM payments p LEFT JOIN orders o ON o.id = p.order_id WHERE o.id IS NULL
UNION ALL
SELECT format('categories %s: parent_id %s', c.id, c.parent_id)
FROM categories c LEFT JOIN categories p ON p.id = c.parent_id WHERE c.parent_id IS NOT NULL AND p.id IS NULL
UNION ALL
SELECT format('products %s: category_id %s', p.id, p.category_id)
FROM products p LEFT JOIN categories c ON c.id = p.category_id WHERE p.category_id IS NOT NULL AND c.id IS NULL
