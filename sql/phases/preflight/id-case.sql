-- Ids of documents that differ in case only.
SELECT format('%s %s', what, string_agg(format('%L', id), ', ' ORDER BY id)) AS key
FROM (SELECT DISTINCT 'firebase_uid' AS what, firebase_uid AS id FROM users
      WHERE deleted_at IS NULL AND firebase_uid IS NOT NULL
      UNION ALL
      SELECT DISTINCT 'session_token', session_token FROM user_sessions WHERE session_token IS NOT NULL) ids
GROUP BY what, lower(id)
HAVING count(*) > 1
