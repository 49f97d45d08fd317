-- analytics_events → gateway_database. Anonymous events stay. A user that cannot be named becomes
-- NULL, with the lost id in the note.
SELECT
    e.id,
    e.event_name,
    u.uid AS user_uid,
    e.session_id,
    e.properties,
    e.ip_address,
    e.user_agent,
    e.referrer,
    e.utm_source,
    e.utm_medium,
    e.utm_campaign,
    e.created_at,
    CASE
        WHEN e.id IN (:undecodable_analytics_events)
            THEN 'quarantined:text_undecodable'
        WHEN e.event_name IS NULL OR e.created_at IS NULL
            THEN 'quarantined:value_missing'
        WHEN e.id IN (:unfit_analytics_events)
            THEN 'quarantined:value_does_not_fit'
        ELSE 'migrated'
    END AS outcome,
    CASE WHEN e.user_id IS NOT NULL AND u.id IS NULL
             THEN format('user_id %s: no such user', e.user_id)
         WHEN e.user_id IS NOT NULL AND u.uid IS NULL
             THEN format('user_id %s: the user has no firebase_uid', e.user_id)
    END AS note
FROM analytics_events e
LEFT JOIN (
\ir ../users/known.sql
) u ON u.id = e.user_id
