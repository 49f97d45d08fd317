-- The rules for users, written a second time without looking at 2-export.sql.
SELECT id, 'excluded' AS kind FROM users WHERE deleted_at IS NOT NULL
UNION ALL
SELECT u.id,
       CASE WHEN u.firebase_uid::text COLLATE "C" !~ '^(|\.|\.\.|__.*__)$'
             AND strpos(u.firebase_uid::text COLLATE "C", '/') = 0
             AND length(convert_to(u.firebase_uid::text, 'UTF8')) <= 1500
             AND u.firebase_uid::text COLLATE "C" NOT IN (SELECT firebase_uid::text COLLATE "C" FROM users
                                        WHERE deleted_at IS NULL AND firebase_uid IS NOT NULL
                                        GROUP BY firebase_uid::text COLLATE "C" HAVING count(*) > 1)
             -- least and greatest pass over NULLs, infinity and dates before Christ sort outside
             AND coalesce(least(u.last_login_at, u.created_at, u.updated_at)    >= '0001-01-01 00:00:00+00', true)
             AND coalesce(greatest(u.last_login_at, u.created_at, u.updated_at) <= '9999-12-31 23:59:59.999999+00', true)
             AND length(convert_to(concat_ws('', u.user_agent, u.source, u.language, u.timezone, u.status, u.phone_number,
                                   u.last_name, u.first_name, u.email, u.firebase_uid, u.firebase_uid), 'UTF8')) <= 1047576
             AND (u.id IN (:undecodable_users)) IS NOT TRUE AND (u.id IN (:unfit_users)) IS NOT TRUE
            THEN 'migrated' ELSE 'quarantined' END
FROM users u
WHERE u.deleted_at IS NULL
