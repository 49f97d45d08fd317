-- Sessions that bear the session_token of another. It is a secret: the rows are named.
SELECT format('user_sessions %s', string_agg(id::text, ', ' ORDER BY id)) AS key
FROM user_sessions
WHERE session_token IS NOT NULL
GROUP BY session_token::text COLLATE "C"
HAVING count(*) > 1
