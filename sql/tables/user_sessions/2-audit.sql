-- The rules for sessions, written a second time without looking at 2-export.sql.
WITH owner AS (
\ir ../users/2-audit.sql
)
SELECT s.id,
       CASE owner.kind
           WHEN 'excluded' THEN 'excluded'
           WHEN 'migrated' THEN
               CASE WHEN s.session_token !~ '^(|\.|\.\.|__.*__)$' AND position('/' IN s.session_token) = 0
                     AND length(s.session_token) <= 1500
                     AND NOT EXISTS (SELECT FROM user_sessions o
                                     WHERE o.session_token = s.session_token AND o.id <> s.id)
                     AND t.in_range
                    THEN 'migrated' ELSE 'quarantined' END
           ELSE 'quarantined'
       END AS kind
FROM user_sessions s
LEFT JOIN owner ON owner.id = s.user_id
CROSS JOIN LATERAL (
    SELECT coalesce(bool_and(isfinite(at) AND extract(year FROM at AT TIME ZONE 'UTC') BETWEEN 1 AND 9999), true) AS in_range
    FROM unnest(ARRAY[s.last_activity_at, s.created_at, s.expires_at]) AS at
    WHERE at IS NOT NULL
) t
