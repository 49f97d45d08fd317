-- users → Firestore users/{firebase_uid}. Live users whose document Firestore can hold.
SELECT
    u.id,
    u.firebase_uid,
    u.email,
    u.first_name,
    u.last_name,
    u.phone_number,
    u.status,
    u.last_login_at,
    u.login_count,
    u.email_verified,
    u.profile_completed,
    u.timezone,
    u.language,
    u.source,
    u.ip_address,        -- as inet: a host is written without its mask, a network with it
    u.user_agent,
    u.created_at,
    u.updated_at,
    u.deleted_at,
    CASE
        WHEN u.deleted_at IS NOT NULL
            THEN 'excluded:user_deleted'
        WHEN u.id IN (:undecodable_users)
            THEN 'quarantined:text_undecodable'
        WHEN u.firebase_uid IS NULL OR document.id = ''
            THEN 'quarantined:uid_missing'
        WHEN document.id IN ('.', '..') OR document.id LIKE '%/%'
          OR document.id ~ '^__.*__$'       OR octet_length(convert_to(document.id, 'UTF8')) > 1500
            THEN 'quarantined:uid_not_an_id'
        -- One document cannot hold two users, and the last one must not win.
        WHEN twice.id IS NOT NULL
            THEN 'quarantined:uid_not_unique'
        -- Firestore's time stamps: the years 1 to 9999, no infinity.
        WHEN NOT coalesce(u.last_login_at >= '0001-01-01 00:00+00' AND u.last_login_at < '10000-01-01 00:00+00', true)
          OR NOT coalesce(u.created_at    >= '0001-01-01 00:00+00' AND u.created_at    < '10000-01-01 00:00+00', true)
          OR NOT coalesce(u.updated_at    >= '0001-01-01 00:00+00' AND u.updated_at    < '10000-01-01 00:00+00', true)
            THEN 'quarantined:time_out_of_range'
        -- 1 MiB a document. 1,000 bytes are more than its name, field names, numbers and times take. Asked
        -- first: no encoding's byte becomes more than four in UTF-8, and converting costs.
        WHEN octet_length(concat(u.firebase_uid, u.email, u.first_name, u.last_name, u.phone_number, u.status,
                                 u.timezone, u.language, u.source, u.user_agent)) > 250000
         AND 1000 + octet_length(convert_to(concat(
                 u.firebase_uid, u.firebase_uid, u.email, u.first_name, u.last_name, u.phone_number, u.status,
                 u.timezone, u.language, u.source, u.user_agent), 'UTF8')) > 1048576
            THEN 'quarantined:document_too_large'
        WHEN u.id IN (:unfit_users)
            THEN 'quarantined:value_does_not_fit'
        ELSE 'migrated'
    END AS outcome,
    NULL::text AS note
FROM users u
-- As Firestore compares ids, byte by byte: the column's type or collation may ignore case.
CROSS JOIN LATERAL (SELECT u.firebase_uid::text COLLATE "C" AS id) document
LEFT JOIN (
    SELECT firebase_uid::text COLLATE "C" AS id FROM users WHERE deleted_at IS NULL GROUP BY 1 HAVING count(*) > 1
) twice ON twice.id = document.id
