-- The rules for users, written a second time without looking at 2-export.sql.
SELECT id, 'excluded' AS kind FROM users WHERE deleted_at IS NOT NULL
UNION ALL
SELECT u.id,
       CASE WHEN u.firebase_uid !~ '^(|\.|\.\.|__.*__)$' AND position('/' IN u.firebase_uid) = 0
             AND length(u.firebase_uid) <= 1500
             AND NOT EXISTS (SELECT FROM users o
                             WHERE o.firebase_uid = u.firebase_uid AND o.id <> u.id AND o.deleted_at IS NULL)
             AND t.in_range
             AND coalesce(length(u.user_agent), 0) < 1000000
            THEN 'migrated' ELSE 'quarantined' END
FROM users u
CROSS JOIN LATERAL (
    SELECT coalesce(bool_and(isfinite(at) AND extract(year FROM at AT TIME ZONE 'UTC') BETWEEN 1 AND 9999), true) AS in_range
    FROM unnest(ARRAY[u.last_login_at, u.created_at, u.updated_at]) AS at
    WHERE at IS NOT NULL
) t
WHERE u.deleted_at IS NULL
