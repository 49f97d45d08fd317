-- A user that a rehearsal's token is for: one whose document Firestore holds.
SELECT firebase_uid
FROM users
WHERE deleted_at IS NULL AND firebase_uid ~ '^[A-Za-z0-9-]{1,128}$'
ORDER BY id
LIMIT 1
