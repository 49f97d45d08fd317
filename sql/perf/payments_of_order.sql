-- order-service: the payments of an order
SELECT * FROM payments WHERE order_id = :'order_id' ORDER BY id
