-- Users by the uid that others know them by: an empty one is none (rule 5).
SELECT id, CASE WHEN firebase_uid::text COLLATE "C" <> '' THEN firebase_uid END AS uid
FROM users
