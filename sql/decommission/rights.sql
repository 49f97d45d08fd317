-- What this role lacks to close a database and to give it another name, and the roles that may still log in to it beside
-- superusers and this one. One row. psql: \set database ecommerce_db
SELECT CASE
           WHEN me.rolsuper THEN NULL
           WHEN NOT pg_has_role(d.datdba, 'USAGE') THEN
               format('membership in its owner is missing: GRANT %I TO %I', pg_get_userbyid(d.datdba), me.rolname)
           WHEN NOT me.rolcreatedb THEN format('CREATEDB is missing: ALTER ROLE %I CREATEDB', me.rolname)
       END AS lacks,
       (SELECT coalesce(array_agg(r.rolname::text ORDER BY r.rolname), '{}')
        FROM pg_roles r
        WHERE r.rolcanlogin AND NOT r.rolsuper AND r.oid <> me.oid
          AND has_database_privilege(r.oid, d.oid, 'CONNECT')) AS let_in
FROM pg_database d
JOIN pg_roles me ON me.rolname = current_user
WHERE d.datname = :'database'
