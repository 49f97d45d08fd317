-- What an order service writes after the cut-over. psql: \set seed 0.42 \set writes 6 \set uids {uid-1,uid-2}
SELECT setseed(:seed);
INSERT INTO orders (user_uid, total_amount, status, created_at)
SELECT (SELECT uid FROM unnest(:'uids'::text[]) uid ORDER BY random(), n LIMIT 1), round((random() * 500)::numeric, 2),
       CASE WHEN random() < 0.5 THEN 'new' END, clock_timestamp()
FROM generate_series(1, :writes) n;
INSERT INTO order_items (order_id, product_id, product_name, quantity, unit_price, created_at)
SELECT o.id, (SELECT product_id FROM order_items ORDER BY random(), o.id LIMIT 1), 'item', 1 + (random() * 3)::int, 9.99, now()
FROM (SELECT id FROM orders ORDER BY id DESC LIMIT :writes) o;
INSERT INTO payments (order_id, amount, currency, gateway_response, created_at)
SELECT o.id, 9.99, 'EUR', jsonb_build_object('n', random(), 'a', NULL), now()
FROM (SELECT id FROM orders ORDER BY id DESC LIMIT 3) o;
UPDATE orders SET status = left(md5(random()::text), 5), tracking_number = '', updated_at = clock_timestamp()
WHERE id IN (SELECT id FROM orders ORDER BY random() LIMIT :writes);
-- An item moves to another order; an order goes with what hangs on it.
UPDATE order_items SET order_id = (SELECT max(id) FROM orders)
WHERE id IN (SELECT id FROM order_items ORDER BY random() LIMIT 2);
DELETE FROM orders WHERE id IN (SELECT id FROM orders ORDER BY random() LIMIT 2);
DELETE FROM payments WHERE id IN (SELECT id FROM payments ORDER BY random() LIMIT 1)
