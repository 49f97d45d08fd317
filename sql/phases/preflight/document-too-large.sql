-- Users and sessions whose document would be larger than 1 MiB.
SELECT format('users %s', u.id) AS key
FROM users u
WHERE u.deleted_at IS NULL
  AND octet_length(concat(u.firebase_uid, u.email, u.first_name, u.last_name, u.phone_number, u.status,
                          u.timezone, u.language, u.source, u.user_agent)) > 250000
  AND 1000 + octet_length(convert_to(concat(u.firebase_uid, u.firebase_uid, u.email, u.first_name, u.last_name,
                          u.phone_number, u.status, u.timezone, u.language, u.source, u.user_agent), 'UTF8')) > 1048576
UNION ALL
SELECT format('user_sessions %s', s.id)
FROM user_sessions s
WHERE octet_length(concat(s.session_token, s.device_type, s.browser, s.os, s.location_country, s.location_city)) > 250000
  AND 1000 + octet_length(convert_to(concat(s.session_token, s.session_token, s.device_type, s.browser, s.os,
                          s.location_country, s.location_city), 'UTF8')) > 1048576
