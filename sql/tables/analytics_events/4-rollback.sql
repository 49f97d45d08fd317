-- analytics_events ← gateway_database: the mirror image of 2-export.sql. :rows has rows as that file tells them.
-- user_uid has no column there: it says whether user_id has to follow.
SELECT
    r.id,
    r.event_name,
    owner.user_id,
    r.user_uid,
    r.session_id,
    r.properties,
    r.ip_address,
    r.user_agent,
    r.referrer,
    r.utm_source,
    r.utm_medium,
    r.utm_campaign,
    r.created_at
FROM :rows r
-- A uid that several users have names none of them.
LEFT JOIN pg_temp.owners owner ON owner.uid = r.user_uid::text COLLATE "C" AND owner.bearers = 1
