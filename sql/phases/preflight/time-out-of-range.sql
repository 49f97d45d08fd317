-- Users and sessions with a time stamp that Firestore cannot hold: outside the years 1 to 9999, infinity.
SELECT format('users %s', id) AS key
FROM users
WHERE deleted_at IS NULL
  AND (least(last_login_at, created_at, updated_at) < '0001-01-01 00:00+00'
    OR greatest(last_login_at, created_at, updated_at) >= '10000-01-01 00:00+00')
UNION ALL
SELECT format('user_sessions %s', id)
FROM user_sessions
WHERE least(last_activity_at, created_at, expires_at) < '0001-01-01 00:00+00'
   OR greatest(last_activity_at, created_at, expires_at) >= '10000-01-01 00:00+00'
