-- Users by their uid, those that are soft-deleted too: whose the rows are that come back with a user_uid.
CREATE TEMP TABLE owners ON COMMIT DROP AS
SELECT firebase_uid::text COLLATE "C" AS uid, min(id)::bigint AS user_id, count(*) AS bearers,
       left(string_agg(id::text, ', ' ORDER BY id), 200) AS ids
FROM users
WHERE firebase_uid::text COLLATE "C" <> ''
GROUP BY 1
