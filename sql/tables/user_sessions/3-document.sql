-- A session's document, told a second time: what Firestore must hold for a migrated row r of 2-export.sql, as
-- its id and its fields. The first telling is the fields in xtask/src/tables.rs and what reads the file
-- into them. Both must have the same digest. A time stamp is the microseconds since 1970.
-- psql: \set defaults true: NULL takes the guide's default; false: it stays null.
jsonb_build_array(r.session_token, jsonb_build_object(
    'session_token',    r.session_token,
    'user_uid',         coalesce(to_jsonb(r.user_uid),         CASE WHEN :defaults THEN to_jsonb(''::text) END),
    'device_type',      coalesce(to_jsonb(r.device_type),      CASE WHEN :defaults THEN to_jsonb('desktop'::text) END),
    'browser',          coalesce(to_jsonb(r.browser),          CASE WHEN :defaults THEN to_jsonb(''::text) END),
    'os',               coalesce(to_jsonb(r.os),               CASE WHEN :defaults THEN to_jsonb(''::text) END),
    'ip_address',       coalesce(to_jsonb(r.ip_address),       CASE WHEN :defaults THEN to_jsonb(''::text) END),
    'location_country', coalesce(to_jsonb(r.location_country), CASE WHEN :defaults THEN to_jsonb(''::text) END),
    'location_city',    coalesce(to_jsonb(r.location_city),    CASE WHEN :defaults THEN to_jsonb(''::text) END),
    'is_active',        coalesce(to_jsonb(r.is_active),        CASE WHEN :defaults THEN to_jsonb(false) END),
    'last_activity_at', CASE WHEN r.last_activity_at IS NOT NULL THEN jsonb_build_object('time', (extract(epoch FROM r.last_activity_at) * 1000000)::bigint) END,
    'created_at',       CASE WHEN r.created_at IS NOT NULL THEN jsonb_build_object('time', (extract(epoch FROM r.created_at) * 1000000)::bigint) END,
    'expires_at',       CASE WHEN r.expires_at IS NOT NULL THEN jsonb_build_object('time', (extract(epoch FROM r.expires_at) * 1000000)::bigint) END
))
