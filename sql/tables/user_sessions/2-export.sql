-- user_sessions → Firestore user_sessions/{session_token}, joined to their users here.
WITH u AS (
\ir ../users/2-export.sql
)
SELECT
    s.id,
    s.user_id,
    s.session_token,
    u.firebase_uid AS user_uid,
    s.device_type,
    s.browser,
    s.os,
    s.ip_address,        -- as inet: a host is written without its mask, a network with it
    s.location_country,
    s.location_city,
    s.is_active,
    s.last_activity_at,
    s.created_at,
    s.expires_at,
    CASE
        WHEN u.id IS NULL
            THEN 'quarantined:user_missing'
        WHEN u.outcome = 'excluded:user_deleted'
            THEN 'excluded:session_of_deleted_user'
        WHEN u.outcome <> 'migrated'
            THEN 'quarantined:user_quarantined'
        WHEN s.id IN (:undecodable_user_sessions)
            THEN 'quarantined:text_undecodable'
        WHEN s.session_token IS NULL
          OR document.id IN ('', '.', '..') OR document.id LIKE '%/%'
          OR document.id ~ '^__.*__$'       OR octet_length(convert_to(document.id, 'UTF8')) > 1500
            THEN 'quarantined:token_not_an_id'
        WHEN twice.id IS NOT NULL
            THEN 'quarantined:token_not_unique'
        -- Firestore's time stamps: the years 1 to 9999, no infinity.
        WHEN NOT coalesce(s.last_activity_at >= '0001-01-01 00:00+00' AND s.last_activity_at < '10000-01-01 00:00+00', true)
          OR NOT coalesce(s.created_at       >= '0001-01-01 00:00+00' AND s.created_at       < '10000-01-01 00:00+00', true)
          OR NOT coalesce(s.expires_at       >= '0001-01-01 00:00+00' AND s.expires_at       < '10000-01-01 00:00+00', true)
            THEN 'quarantined:time_out_of_range'
        -- 1 MiB a document, as for users.
        WHEN octet_length(concat(s.session_token, u.firebase_uid, s.device_type, s.browser, s.os,
                                 s.location_country, s.location_city)) > 250000
         AND 1000 + octet_length(convert_to(concat(
                 s.session_token, s.session_token, u.firebase_uid, s.device_type, s.browser, s.os,
                 s.location_country, s.location_city), 'UTF8')) > 1048576
            THEN 'quarantined:document_too_large'
        WHEN s.id IN (:unfit_user_sessions)
            THEN 'quarantined:value_does_not_fit'
        ELSE 'migrated'
    END AS outcome,
    NULL::text AS note
FROM user_sessions s
LEFT JOIN u ON u.id = s.user_id
-- As Firestore compares ids, byte by byte: the column's type or collation may ignore case.
CROSS JOIN LATERAL (SELECT s.session_token::text COLLATE "C" AS id) document
LEFT JOIN (
    SELECT session_token::text COLLATE "C" AS id FROM user_sessions GROUP BY 1 HAVING count(*) > 1
) twice ON twice.id = document.id
