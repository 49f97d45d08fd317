-- A session_token that several sessions bear.
SELECT format('session_token %L: user_sessions %s', session_token, string_agg(id::text, ', ' ORDER BY id)) AS key
FROM user_sessions
WHERE session_token IN (SELECT session_token FROM user_sessions GROUP BY session_token HAVING count(*) > 1)
GROUP BY session_token
