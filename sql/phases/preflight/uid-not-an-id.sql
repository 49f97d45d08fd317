-- firebase_uids that Firestore cannot hold as the id of a document.
SELECT format('users %s: %L', u.id, left(u.firebase_uid, 40)) AS key
FROM users u
CROSS JOIN LATERAL (SELECT u.firebase_uid::text COLLATE "C" AS id) document
WHERE u.deleted_at IS NULL
  AND (document.id IN ('', '.', '..') OR document.id LIKE '%/%' OR document.id ~ '^__.*__$'
    OR octet_length(convert_to(firebase_uid, 'UTF8')) > 1500)
