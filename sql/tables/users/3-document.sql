-- A user's document, told a second time: what Firestore must hold for a migrated row r of 2-export.sql, as
-- its id and its fields. The first telling is the fields in xtask/src/tables.rs and what reads the file
-- into them. Both must have the same digest. A time stamp is the microseconds since 1970.
-- psql: \set defaults true: NULL takes the guide's default; false: it stays null.
jsonb_build_array(r.firebase_uid, jsonb_build_object(
    'firebase_uid',      r.firebase_uid,
    'email',             coalesce(to_jsonb(r.email),             CASE WHEN :defaults THEN to_jsonb(''::text) END),
    'first_name',        coalesce(to_jsonb(r.first_name),        CASE WHEN :defaults THEN to_jsonb(''::text) END),
    'last_name',         coalesce(to_jsonb(r.last_name),         CASE WHEN :defaults THEN to_jsonb(''::text) END),
    'phone_number',      coalesce(to_jsonb(r.phone_number),      CASE WHEN :defaults THEN to_jsonb(''::text) END),
    'status',            coalesce(to_jsonb(r.status),            CASE WHEN :defaults THEN to_jsonb('active'::text) END),
    'last_login_at',     CASE WHEN r.last_login_at IS NOT NULL THEN jsonb_build_object('time', (extract(epoch FROM r.last_login_at) * 1000000)::bigint) END,
    'login_count',       coalesce(to_jsonb(r.login_count),       CASE WHEN :defaults THEN to_jsonb(0) END),
    'email_verified',    coalesce(to_jsonb(r.email_verified),    CASE WHEN :defaults THEN to_jsonb(false) END),
    'profile_completed', coalesce(to_jsonb(r.profile_completed), CASE WHEN :defaults THEN to_jsonb(false) END),
    'timezone',          coalesce(to_jsonb(r.timezone),          CASE WHEN :defaults THEN to_jsonb('UTC'::text) END),
    'language',          coalesce(to_jsonb(r.language),          CASE WHEN :defaults THEN to_jsonb('en'::text) END),
    'source',            coalesce(to_jsonb(r.source),            CASE WHEN :defaults THEN to_jsonb('web'::text) END),
    'ip_address',        coalesce(to_jsonb(r.ip_address),        CASE WHEN :defaults THEN to_jsonb(''::text) END),
    'user_agent',        coalesce(to_jsonb(r.user_agent),        CASE WHEN :defaults THEN to_jsonb(''::text) END),
    'created_at',        CASE WHEN r.created_at IS NOT NULL THEN jsonb_build_object('time', (extract(epoch FROM r.created_at) * 1000000)::bigint) END,
    'updated_at',        CASE WHEN r.updated_at IS NOT NULL THEN jsonb_build_object('time', (extract(epoch FROM r.updated_at) * 1000000)::bigint) END,
    'deleted_at',        CASE WHEN r.deleted_at IS NOT NULL THEN jsonb_build_object('time', (extract(epoch FROM r.deleted_at) * 1000000)::bigint) END
))
