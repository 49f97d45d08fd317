-- One role that is to be kept out. psql: \set role shop_app
-- No rows: there is no such role. `alterable`: this role may take its LOGIN away and give it back
-- (CREATEROLE; from PostgreSQL 16 on with the ADMIN option on the role as well).
SELECT r.rolcanlogin              AS can_login,
       r.rolname = current_user   AS is_me,
       me.rolsuper OR (
           me.rolcreaterole AND NOT r.rolsuper AND NOT r.rolreplication
           AND (current_setting('server_version_num')::int < 160000
                OR pg_has_role(r.oid, 'MEMBER WITH ADMIN OPTION'))
       )                          AS alterable
FROM pg_roles r
JOIN pg_roles me ON me.rolname = current_user
WHERE r.rolname = :'role'
