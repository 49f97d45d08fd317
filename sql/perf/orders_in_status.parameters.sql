-- The most common status, of the newest 10,000 orders.
SELECT n.status::text AS status
FROM (SELECT * FROM orders ORDER BY id DESC LIMIT 10000) n
WHERE n.status IS NOT NULL
GROUP BY n.status
ORDER BY count(*) DESC, n.status
LIMIT 1
