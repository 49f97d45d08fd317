-- The user with the most events, of the newest 10,000: the id of the old database, and the uid of the new one.
SELECT u.id::text AS user_id, u.firebase_uid::text AS user_uid
FROM (SELECT * FROM analytics_events ORDER BY id DESC LIMIT 10000) n
JOIN users u ON u.id = n.user_id
WHERE u.firebase_uid <> ''
GROUP BY u.id, u.firebase_uid
ORDER BY count(*) DESC, u.id
LIMIT 1
