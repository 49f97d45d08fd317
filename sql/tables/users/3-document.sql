-- A user's document, told a second time: what Firestore must hold for a migrated row r of 2-export.sql, as
-- its id and its fields. The first telling is the fields in xtask/src/tables.rs and what reads the file
-- into them. Both must have the same digest. A time stamp is the microseconds since 1970.
-- The text of a JSON array of both, as jsonb would write it: fields by the length of their names, then by the
-- alphabet. Put together by hand, because making jsonb of it costs three times as much.
-- psql: \set defaults true: NULL takes the guide's default; false: it stays null.
concat('[', to_json(r.firebase_uid), ', {',
    '"email": ',               coalesce(to_json(r.email),             CASE WHEN :defaults THEN '""' ELSE 'null' END::json),
    ', "source": ',            coalesce(to_json(r.source),            CASE WHEN :defaults THEN '"web"' ELSE 'null' END::json),
    ', "status": ',            coalesce(to_json(r.status),            CASE WHEN :defaults THEN '"active"' ELSE 'null' END::json),
    ', "language": ',          coalesce(to_json(r.language),          CASE WHEN :defaults THEN '"en"' ELSE 'null' END::json),
    ', "timezone": ',          coalesce(to_json(r.timezone),          CASE WHEN :defaults THEN '"UTC"' ELSE 'null' END::json),
    ', "last_name": ',         coalesce(to_json(r.last_name),         CASE WHEN :defaults THEN '""' ELSE 'null' END::json),
    ', "created_at": ',        CASE WHEN r.created_at IS NULL THEN 'null' ELSE concat('{"time": ', (extract(epoch FROM r.created_at) * 1000000)::bigint, '}') END,
    ', "deleted_at": ',        CASE WHEN r.deleted_at IS NULL THEN 'null' ELSE concat('{"time": ', (extract(epoch FROM r.deleted_at) * 1000000)::bigint, '}') END,
    ', "first_name": ',        coalesce(to_json(r.first_name),        CASE WHEN :defaults THEN '""' ELSE 'null' END::json),
    ', "ip_address": ',        coalesce(to_json(r.ip_address),        CASE WHEN :defaults THEN '""' ELSE 'null' END::json),
    ', "updated_at": ',        CASE WHEN r.updated_at IS NULL THEN 'null' ELSE concat('{"time": ', (extract(epoch FROM r.updated_at) * 1000000)::bigint, '}') END,
    ', "user_agent": ',        coalesce(to_json(r.user_agent),        CASE WHEN :defaults THEN '""' ELSE 'null' END::json),
    ', "login_count": ',       coalesce(to_json(r.login_count),       CASE WHEN :defaults THEN '0' ELSE 'null' END::json),
    ', "firebase_uid": ',      to_json(r.firebase_uid),
    ', "phone_number": ',      coalesce(to_json(r.phone_number),      CASE WHEN :defaults THEN '""' ELSE 'null' END::json),
    ', "last_login_at": ',     CASE WHEN r.last_login_at IS NULL THEN 'null' ELSE concat('{"time": ', (extract(epoch FROM r.last_login_at) * 1000000)::bigint, '}') END,
    ', "email_verified": ',    coalesce(to_json(r.email_verified),    CASE WHEN :defaults THEN 'false' ELSE 'null' END::json),
    ', "profile_completed": ', coalesce(to_json(r.profile_completed), CASE WHEN :defaults THEN 'false' ELSE 'null' END::json),
    '}]')
