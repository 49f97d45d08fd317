-- session_tokens that Firestore cannot hold as the id of a document. They are secrets: the rows are named.
SELECT format('user_sessions %s', s.id) AS key
FROM user_sessions s
CROSS JOIN LATERAL (SELECT s.session_token::text COLLATE "C" AS id) document
WHERE document.id IS NULL OR document.id IN ('', '.', '..') OR document.id LIKE '%/%'
   OR document.id ~ '^__.*__$' OR octet_length(convert_to(s.session_token, 'UTF8')) > 1500
