-- The rules for sessions, written a second time without looking at 2-export.sql.
WITH owner AS (
\ir ../users/2-audit.sql
)
SELECT s.id,
       CASE owner.kind
           WHEN 'excluded' THEN 'excluded'
           WHEN 'migrated' THEN
               CASE WHEN s.session_token::text COLLATE "C" !~ '^(|\.|\.\.|__.*__)$'
                     AND strpos(s.session_token::text COLLATE "C", '/') = 0
                     AND length(convert_to(s.session_token::text, 'UTF8')) <= 1500
                     AND s.session_token::text COLLATE "C" NOT IN (
                         SELECT session_token::text COLLATE "C" FROM user_sessions WHERE session_token IS NOT NULL
                         GROUP BY session_token::text COLLATE "C" HAVING count(*) > 1)
                     AND coalesce(least(s.last_activity_at, s.created_at, s.expires_at)    >= '0001-01-01 00:00:00+00', true)
                     AND coalesce(greatest(s.last_activity_at, s.created_at, s.expires_at) <= '9999-12-31 23:59:59.999999+00', true)
                     AND length(convert_to(concat(s.session_token, s.session_token, s.device_type, s.browser, s.os,
                                           s.location_country, s.location_city), 'UTF8'))
                         + length(convert_to(o.firebase_uid::text, 'UTF8')) <= 1047576
                     AND (s.id IN (:undecodable_user_sessions)) IS NOT TRUE AND (s.id IN (:unfit_user_sessions)) IS NOT TRUE
                    THEN 'migrated' ELSE 'quarantined' END
           ELSE 'quarantined'
       END AS kind
FROM user_sessions s
LEFT JOIN owner ON owner.id = s.user_id
LEFT JOIN users o ON o.id = s.user_id
