-- The user with the most orders, of the newest 10,000, as the new database knows it.
SELECT n.user_uid::text AS user_uid
FROM (SELECT * FROM orders ORDER BY id DESC LIMIT 10000) n
WHERE n.user_uid <> ''
GROUP BY n.user_uid
ORDER BY count(*) DESC, n.user_uid
LIMIT 1
