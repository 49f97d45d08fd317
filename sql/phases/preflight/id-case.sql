-- Ids of documents that differ in case only.
SELECT format('%s %s', what, string_agg(format('%L', id), ', ' ORDER BY id)) AS key
FROM (SELECT DISTINCT 'firebase_uid' AS what, firebase_uid::text COLLATE "default" AS id FROM users
      WHERE deleted_at IS NULL AND firebase_uid IS NOT NULL
      UNION ALL
      SELECT DISTINCT 'session_token', session_token::text COLLATE "default" FROM user_sessions WHERE session_token IS NOT NULL) ids
GROUP BY what, lower(id)
HAVING count(*) > 1
