-- Ids of documents that differ in case only. A session_token is a secret: its rows are named.
-- Which letters are the same is the database's to say; which ids are the same, their bytes. First is asked which
-- have a like at all, by bytes, because sorting by the database's collation costs; then which rows have them.
WITH alike_users AS (
    SELECT lower(firebase_uid::text COLLATE "default") COLLATE "C" AS lowered
    FROM users
    WHERE deleted_at IS NULL AND firebase_uid IS NOT NULL
    GROUP BY 1
    HAVING min(firebase_uid::text COLLATE "C") <> max(firebase_uid::text COLLATE "C")
), alike_sessions AS (
    SELECT lower(session_token::text COLLATE "default") COLLATE "C" AS lowered
    FROM user_sessions
    WHERE session_token IS NOT NULL
    GROUP BY 1
    HAVING min(session_token::text COLLATE "C") <> max(session_token::text COLLATE "C")
)
SELECT format('firebase_uid %s', string_agg(format('%L', id), ', ' ORDER BY id)) AS key
FROM (SELECT DISTINCT firebase_uid::text COLLATE "default" AS id
      FROM users
      WHERE deleted_at IS NULL
        AND lower(firebase_uid::text COLLATE "default") COLLATE "C" = ANY (ARRAY(SELECT lowered FROM alike_users))) ids
GROUP BY lower(id) COLLATE "C"
UNION ALL
SELECT format('user_sessions %s', string_agg(id::text, ', ' ORDER BY id))
FROM user_sessions
WHERE lower(session_token::text COLLATE "default") COLLATE "C" = ANY (ARRAY(SELECT lowered FROM alike_sessions))
GROUP BY lower(session_token::text COLLATE "default") COLLATE "C"
