-- system_logs → gateway_database api_logs. Anonymous entries stay. A user that cannot be named
-- becomes NULL, with the lost id in the note.
SELECT
    l.id,
    l.service_name,
    l.message          AS path,
    'GET'::varchar(10) AS method,         -- these three are assumed: the monolith does not know them
    200                AS status_code,
    0                  AS latency_ms,
    u.uid     AS user_uid,
    l.ip_address,
    l.user_agent,
    l.request_id,
    l.created_at,
    l.level,                              -- stays in the export file: api_logs has no such column
    CASE
        WHEN l.id IN (:undecodable_api_logs)
            THEN 'quarantined:text_undecodable'
        WHEN l.created_at IS NULL
            THEN 'quarantined:value_missing'
        WHEN l.id IN (:unfit_api_logs)
            THEN 'quarantined:value_does_not_fit'
        ELSE 'migrated'
    END AS outcome,
    CASE WHEN l.user_id IS NOT NULL AND u.id IS NULL
             THEN format('user_id %s: no such user', l.user_id)
         WHEN l.user_id IS NOT NULL AND u.uid IS NULL
             THEN format('user_id %s: the user has no firebase_uid', l.user_id)
    END AS note
-- A log without a level has none: an unqualified name is looked for in system_logs first.
FROM (SELECT NULL::varchar(20) AS level) absent
CROSS JOIN LATERAL (
    SELECT s.id, s.service_name, s.message, s.user_id, s.ip_address, s.user_agent, s.request_id, s.created_at, level
    FROM system_logs s
) l
LEFT JOIN (
\ir ../users/known.sql
) u ON u.id = l.user_id
