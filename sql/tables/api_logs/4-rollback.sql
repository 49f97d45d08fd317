-- system_logs ← gateway_database api_logs: the mirror image of 2-export.sql. :rows has rows as that file tells them.
-- method, status_code and latency_ms have no place there: they are kept in the delta's file, and counted. What a
-- log's level was is not known to the new store: a new row has none.
-- user_uid has no column there: it says whether user_id has to follow.
SELECT
    r.id,
    r.service_name,
    r.path AS message,
    owner.user_id,
    r.user_uid,
    r.ip_address,
    r.user_agent,
    r.request_id,
    r.created_at
FROM :rows r
-- A uid that several users have names none of them.
LEFT JOIN pg_temp.owners owner ON owner.uid = r.user_uid::text COLLATE "C" AND owner.bearers = 1
