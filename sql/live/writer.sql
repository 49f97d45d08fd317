-- What a shop's services do to the old database while it is caught up with: each paragraph is one transaction, and
-- is picked as often as its comment says (`-- weight: what it is`). All kinds of changes are there, rare ones too.

-- 20: a login
UPDATE users SET login_count = coalesce(login_count, 0) + 1, last_login_at = now()
WHERE id = (SELECT 1 + floor(random() * max(id))::int FROM users);

-- 20: a log entry
INSERT INTO system_logs (level, service_name, message, user_id, created_at)
SELECT 'info', 'shop', 'written while it is caught up with', (SELECT 1 + floor(random() * max(id))::int FROM users), now()
WHERE EXISTS (SELECT FROM users);

-- 20: an event
INSERT INTO analytics_events (event_name, user_id, properties, created_at)
SELECT 'page_view', (SELECT 1 + floor(random() * max(id))::int FROM users), '{"path": "/"}', now();

-- 8: an order with what belongs to it
INSERT INTO orders (user_id, total_amount, created_at)
SELECT id, 9.99, now() FROM users WHERE id >= (SELECT 1 + floor(random() * max(id))::int FROM users) ORDER BY id LIMIT 1;
INSERT INTO order_items (order_id, product_id, quantity, unit_price, created_at)
SELECT currval(pg_get_serial_sequence('orders', 'id')), id, 1, 9.99, now() FROM products
WHERE id >= (SELECT 1 + floor(random() * max(id))::int FROM products) ORDER BY id LIMIT 1;
INSERT INTO payments (order_id, amount, created_at)
SELECT currval(pg_get_serial_sequence('orders', 'id')), 9.99, now();

-- 10: an order goes on
UPDATE orders SET status = 'shipped', updated_at = now()
WHERE id = (SELECT 1 + floor(random() * max(id))::int FROM orders);

-- 5: a review
INSERT INTO product_reviews (product_id, user_id, order_id, rating, created_at)
SELECT p.id, o.user_id, o.id, 1 + floor(random() * 5)::int, now()
FROM (SELECT id FROM products WHERE id >= (SELECT 1 + floor(random() * max(id))::int FROM products) ORDER BY id LIMIT 1) p,
     (SELECT id, user_id FROM orders WHERE id >= (SELECT 1 + floor(random() * max(id))::int FROM orders) ORDER BY id LIMIT 1) o;

-- 5: a session begins
INSERT INTO user_sessions (user_id, session_token, created_at)
SELECT id, md5(random()::text), now() FROM users
WHERE id >= (SELECT 1 + floor(random() * max(id))::int FROM users) ORDER BY id LIMIT 1;

-- 3: a session ends
DELETE FROM user_sessions WHERE id = (SELECT 1 + floor(random() * max(id))::int FROM user_sessions);

-- 3: old log entries go
DELETE FROM system_logs WHERE id = (SELECT 1 + floor(random() * max(id))::int FROM system_logs);

-- 10: stock
UPDATE products SET stock = coalesce(stock, 0) + 1, updated_at = now()
WHERE id = (SELECT 1 + floor(random() * max(id))::int FROM products);

-- 1: a user registers
INSERT INTO users (firebase_uid, email, created_at)
SELECT 'u' || md5(random()::text), md5(random()::text) || '@example.com', now();

-- 1: a user is deleted softly, or comes back
UPDATE users SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END
WHERE id = (SELECT 1 + floor(random() * max(id))::int FROM users);

-- 1: a user gets another uid
UPDATE users SET firebase_uid = 'u' || md5(random()::text)
WHERE id = (SELECT 1 + floor(random() * max(id))::int FROM users);

-- 1: a uid is handed over from one user to another
UPDATE users SET firebase_uid = 'u' || md5(random()::text) WHERE id = 1;
UPDATE users SET firebase_uid = (SELECT firebase_uid FROM users WHERE id = 2) || 'x' WHERE id = 1;
UPDATE users SET firebase_uid = 'u' || md5(random()::text) WHERE id = 2;
UPDATE users SET firebase_uid = left(firebase_uid, -1) WHERE id = 1;

-- 1: two products swap their slugs
UPDATE products SET slug = 'swapped-' || id WHERE id IN (3, 4);
UPDATE products SET slug = 'swap-' || CASE id WHEN 3 THEN 4 ELSE 3 END WHERE id IN (3, 4);

-- 1: a product is deleted softly, or comes back
UPDATE products SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END
WHERE id = (SELECT 1 + floor(random() * max(id))::int FROM products);

-- 1: a category is deleted softly, or comes back
UPDATE categories SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END
WHERE id = (SELECT 1 + floor(random() * max(id))::int FROM categories);

-- 1: an order item refers to a product that is deleted softly
INSERT INTO order_items (order_id, product_id, quantity, unit_price, created_at)
SELECT (SELECT max(id) FROM orders), id, 1, 1, now() FROM products WHERE deleted_at IS NOT NULL ORDER BY random() LIMIT 1;

-- 1: a review is deleted softly, or comes back
UPDATE product_reviews SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END
WHERE id = (SELECT 1 + floor(random() * max(id))::int FROM product_reviews);

-- 1: an order moves to another user
UPDATE orders SET user_id = (SELECT id FROM users WHERE id >= (SELECT 1 + floor(random() * max(id))::int FROM users) ORDER BY id LIMIT 1)
WHERE id = (SELECT 1 + floor(random() * max(id))::int FROM orders);

-- 1: a payment gets another key
UPDATE payments SET id = nextval(pg_get_serial_sequence('payments', 'id'))
WHERE id = (SELECT 1 + floor(random() * max(id))::int FROM payments);

-- 1: a user has a time that Firestore cannot hold, and has it no more
UPDATE users SET last_login_at = CASE WHEN last_login_at > '10000-01-01' THEN now() ELSE '12000-01-01' END
WHERE id = 5 + floor(random() * 5)::int;

-- 1: an order that is taken back whole
DELETE FROM payments WHERE order_id = (SELECT max(id) FROM orders);
DELETE FROM order_items WHERE order_id = (SELECT max(id) FROM orders);
DELETE FROM product_reviews WHERE order_id = (SELECT max(id) FROM orders);
DELETE FROM orders WHERE id = (SELECT max(id) FROM orders);

-- 1: a transaction that is rolled back
BEGIN; UPDATE users SET email = email || 'x' WHERE id = 1; DELETE FROM payments WHERE id = 1; ROLLBACK;
