-- user_sessions ← Firestore user_sessions/{session_token}: the mirror image of 2-export.sql. :rows has rows as that file tells them.
-- user_uid has no column there: it says whether user_id has to follow.
SELECT
    r.id,
    owner.user_id,
    r.session_token,
    r.user_uid,
    r.device_type,
    r.browser,
    r.os,
    r.ip_address,
    r.location_country,
    r.location_city,
    r.is_active,
    r.last_activity_at,
    r.created_at,
    r.expires_at
FROM :rows r
-- A uid that several users have names none of them.
LEFT JOIN pg_temp.owners owner ON owner.uid = r.user_uid::text COLLATE "C" AND owner.bearers = 1
