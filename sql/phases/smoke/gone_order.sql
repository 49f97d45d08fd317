-- What is left of the order that was taken back: 0. Variables: order.
SELECT (SELECT count(*) FROM orders WHERE id = :'order'::integer)
     + (SELECT count(*) FROM order_items WHERE order_id = :'order'::integer) AS found
