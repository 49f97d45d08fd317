-- The order with the most payments, of the newest 10,000.
SELECT n.order_id::text AS order_id
FROM (SELECT * FROM payments ORDER BY id DESC LIMIT 10000) n
GROUP BY n.order_id
ORDER BY count(*) DESC, n.order_id
LIMIT 1
