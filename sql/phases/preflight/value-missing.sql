-- Rows with NULL in a column that the target declares NOT NULL.
SELECT format('categories %s', id) AS key FROM categories WHERE num_nulls(name, created_at) > 0
UNION ALL
SELECT format('products %s', id) FROM products WHERE num_nulls(name, price, created_at) > 0
UNION ALL
SELECT format('product_reviews %s', id) FROM product_reviews WHERE created_at IS NULL AND deleted_at IS NULL
UNION ALL
SELECT format('orders %s', id) FROM orders WHERE num_nulls(total_amount, created_at) > 0
UNION ALL
SELECT format('order_items %s', id) FROM order_items WHERE num_nulls(quantity, unit_price, created_at) > 0
UNION ALL
SELECT format('payments %s', id) FROM payments WHERE num_nulls(amount, created_at) > 0
UNION ALL
SELECT format('system_logs %s', id) FROM system_logs WHERE created_at IS NULL
UNION ALL
SELECT format('analytics_events %s', id) FROM analytics_events WHERE num_nulls(event_name, created_at) > 0
