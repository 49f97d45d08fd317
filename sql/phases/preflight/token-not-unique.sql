-- A session_token that several sessions bear.
SELECT format('session_token %L: user_sessions %s', session_token::text COLLATE "C", string_agg(id::text, ', ' ORDER BY id)) AS key
FROM user_sessions
WHERE session_token IS NOT NULL
GROUP BY session_token::text COLLATE "C"
HAVING count(*) > 1
