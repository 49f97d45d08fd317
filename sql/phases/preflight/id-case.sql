-- Ids of documents that differ in case only. A session_token is a secret: its rows are named.
SELECT format('firebase_uid %s', string_agg(format('%L', id), ', ' ORDER BY id)) AS key
FROM (SELECT DISTINCT firebase_uid::text COLLATE "default" AS id FROM users
      WHERE deleted_at IS NULL AND firebase_uid IS NOT NULL) ids
GROUP BY lower(id)
HAVING count(*) > 1
UNION ALL
SELECT format('user_sessions %s', string_agg(id::text, ', ' ORDER BY id))
FROM user_sessions
WHERE session_token IS NOT NULL
GROUP BY lower(session_token::text COLLATE "default")
HAVING count(DISTINCT session_token::text COLLATE "C") > 1
