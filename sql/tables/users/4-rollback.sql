-- users ← Firestore users/{firebase_uid}: the mirror image of 2-export.sql. :rows has rows as that file tells them.
SELECT
    r.id,
    r.firebase_uid,
    r.email,
    r.first_name,
    r.last_name,
    r.phone_number,
    r.status,
    r.last_login_at,
    r.login_count,
    r.email_verified,
    r.profile_completed,
    r.timezone,
    r.language,
    r.source,
    r.ip_address,
    r.user_agent,
    r.created_at,
    r.updated_at,
    r.deleted_at
FROM :rows r
