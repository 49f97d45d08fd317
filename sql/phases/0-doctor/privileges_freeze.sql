-- What this session's role needs to freeze the source (read-only) (grants/freeze.sql): each with whether it is
-- held, and the statement that gives what is missing. psql: \set roles {shop_web,shop_worker}
-- \set anybody true: sessions of any role may have to be ended; false: a target, where those that are there count.
SELECT 'ownership of database ' || quote_ident(d.datname) AS "grant", pg_has_role(d.datdba, 'USAGE') AS held,
       CASE WHEN o.rolsuper THEN format('ALTER DATABASE %I OWNER TO %I', d.datname, current_user)
            ELSE format('GRANT %I TO %I', o.rolname, current_user) END AS statement
FROM pg_database d
JOIN pg_roles o ON o.oid = d.datdba
WHERE d.datname = current_database()
UNION ALL
SELECT 'membership in pg_signal_backend',
       pg_has_role('pg_signal_backend', 'USAGE')
       OR NOT (:anybody OR EXISTS (SELECT FROM pg_stat_activity a
                                   WHERE a.datname = current_database() AND NOT pg_has_role(a.usesysid, 'USAGE'))),
       format('GRANT pg_signal_backend TO %I', current_user)
UNION ALL
SELECT 'CREATEROLE', r.rolcreaterole OR r.rolsuper, format('ALTER ROLE %I CREATEROLE', current_user)
FROM pg_roles r
WHERE r.rolname = current_user AND cardinality(:'roles'::text[]) > 0
UNION ALL
SELECT 'ADMIN option on role ' || quote_ident(s.rolname),
       r.rolsuper OR pg_has_role(s.oid, 'USAGE WITH ADMIN OPTION'),
       format('GRANT %I TO %I WITH ADMIN OPTION', s.rolname, current_user)
FROM pg_roles r, pg_roles s
WHERE r.rolname = current_user AND s.rolname = ANY (:'roles'::text[])
  AND current_setting('server_version_num')::int >= 160000
ORDER BY 1
