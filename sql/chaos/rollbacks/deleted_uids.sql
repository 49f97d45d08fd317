-- Users who are deleted in the old database, and could come back.
SELECT firebase_uid::text AS uid FROM users WHERE deleted_at IS NOT NULL AND firebase_uid::text COLLATE "C" <> ''
  AND firebase_uid::text COLLATE "C" NOT LIKE '%/%' ORDER BY id
