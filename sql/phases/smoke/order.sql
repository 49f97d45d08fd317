-- The order that was made, with its one item: 1. On order_database, and on the old database.
-- Variables: order, product, quantity, amount.
SELECT count(*) AS found
FROM orders
JOIN order_items ON order_items.order_id = orders.id
WHERE orders.id = :'order'::integer
  AND orders.total_amount = :'amount'::numeric
  AND order_items.product_id = :'product'::integer
  AND order_items.quantity = :'quantity'::integer
