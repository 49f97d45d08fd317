-- session_tokens that Firestore cannot hold as the id of a document.
SELECT format('user_sessions %s: %L', s.id, left(s.session_token, 40)) AS key
FROM user_sessions s
WHERE s.session_token IS NULL OR s.session_token IN ('', '.', '..') OR s.session_token LIKE '%/%'
   OR s.session_token ~ '^__.*__$' OR octet_length(convert_to(s.session_token, 'UTF8')) > 1500
