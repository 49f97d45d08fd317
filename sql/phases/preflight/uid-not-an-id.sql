-- firebase_uids that Firestore cannot hold as the id of a document.
SELECT format('users %s: %L', id, left(firebase_uid, 40)) AS key
FROM users
WHERE deleted_at IS NULL
  AND (firebase_uid IN ('', '.', '..') OR firebase_uid LIKE '%/%' OR firebase_uid ~ '^__.*__$'
    OR octet_length(convert_to(firebase_uid, 'UTF8')) > 1500)
