-- order-service: the items of an order
SELECT * FROM order_items WHERE order_id = :'order_id' ORDER BY id
