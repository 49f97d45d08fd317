-- A session's document, told a second time: what Firestore must hold for a migrated row r of 2-export.sql, as
-- its id and its fields. The first telling is the fields in xtask/src/tables.rs and what reads the file
-- into them. Both must have the same digest. A time stamp is the microseconds since 1970.
-- The text of a JSON array of both, as jsonb would write it: fields by the length of their names, then by the
-- alphabet. Put together by hand, because making jsonb of it costs three times as much.
-- psql: \set defaults true: NULL takes the guide's default; false: it stays null.
concat('[', to_json(r.session_token), ', {',
    '"os": ',                 coalesce(to_json(r.os),               CASE WHEN :defaults THEN '""' ELSE 'null' END::json),
    ', "browser": ',          coalesce(to_json(r.browser),          CASE WHEN :defaults THEN '""' ELSE 'null' END::json),
    ', "user_uid": ',         coalesce(to_json(r.user_uid),         CASE WHEN :defaults THEN '""' ELSE 'null' END::json),
    ', "is_active": ',        coalesce(to_json(r.is_active),        CASE WHEN :defaults THEN 'false' ELSE 'null' END::json),
    ', "created_at": ',       CASE WHEN r.created_at IS NULL THEN 'null' ELSE concat('{"time": ', (extract(epoch FROM r.created_at) * 1000000)::bigint, '}') END,
    ', "expires_at": ',       CASE WHEN r.expires_at IS NULL THEN 'null' ELSE concat('{"time": ', (extract(epoch FROM r.expires_at) * 1000000)::bigint, '}') END,
    ', "ip_address": ',       coalesce(to_json(r.ip_address),       CASE WHEN :defaults THEN '""' ELSE 'null' END::json),
    ', "device_type": ',      coalesce(to_json(r.device_type),      CASE WHEN :defaults THEN '"desktop"' ELSE 'null' END::json),
    ', "location_city": ',    coalesce(to_json(r.location_city),    CASE WHEN :defaults THEN '""' ELSE 'null' END::json),
    ', "session_token": ',    to_json(r.session_token),
    ', "last_activity_at": ', CASE WHEN r.last_activity_at IS NULL THEN 'null' ELSE concat('{"time": ', (extract(epoch FROM r.last_activity_at) * 1000000)::bigint, '}') END,
    ', "location_country": ', coalesce(to_json(r.location_country), CASE WHEN :defaults THEN '""' ELSE 'null' END::json),
    '}]')
